// Where the page lies in the stage: a point of the screen is
// view.scale * (point of the page) + (view.x, view.y).

const MAX_SCALE = 16;
const MARGIN_PX = 16; // around a page that fits
const KEEP_PX = 80; // of the page that stay in the stage

const view = { scale: 1, x: 0, y: 0 };
const stageSize = { width: 1, height: 1 };

function fitScale() {
  return Math.min(
    Math.max(stageSize.width - 2 * MARGIN_PX, 16) / current.width,
    Math.max(stageSize.height - 2 * MARGIN_PX, 16) / current.height,
  );
}

function fitPage() {
  if (!current) return;
  view.scale = Math.min(fitScale(), MAX_SCALE);
  view.x = (stageSize.width - view.scale * current.width) / 2;
  view.y = (stageSize.height - view.scale * current.height) / 2;
  viewChanged();
}

/** Zooms so that the point (x, y) of the stage stays where it is. */
function zoomTo(scale, x = stageSize.width / 2, y = stageSize.height / 2) {
  if (!current) return;
  const least = Math.min(fitScale(), 1) / 2;
  scale = Math.min(Math.max(scale, least), MAX_SCALE);
  const factor = scale / view.scale;
  view.scale = scale;
  view.x = x - (x - view.x) * factor;
  view.y = y - (y - view.y) * factor;
  keepInside();
  viewChanged();
}

function panBy(dx, dy) {
  if (!current) return;
  view.x += dx;
  view.y += dy;
  keepInside();
  viewChanged();
}

function keepInside() {
  const keep = (at, size, stage) => {
    const part = Math.min(KEEP_PX, size, stage);
    return Math.min(Math.max(at, part - size), stage - part);
  };
  view.x = keep(view.x, view.scale * current.width, stageSize.width);
  view.y = keep(view.y, view.scale * current.height, stageSize.height);
}

/** Moves, and zooms in where a box would be a speck, until it can be seen. */
function bringIntoView(i) {
  const [top, left, bottom, right] = current.boxes.subarray(4 * i, 4 * i + 4);
  const size = Math.max(bottom - top, right - left, 1);
  const wanted = Math.min(20 / size, 2.5);
  if (view.scale < wanted) {
    zoomTo(wanted, ...toStage((left + right) / 2, (top + bottom) / 2));
  }
  const [x0, y0] = toStage(left, top);
  const [x1, y1] = toStage(right, bottom);
  view.x += shiftInto(x0, x1, stageSize.width);
  view.y += shiftInto(y0, y1, stageSize.height);
  view.x = filling(view.x, view.scale * current.width, stageSize.width);
  view.y = filling(view.y, view.scale * current.height, stageSize.height);
  panBy(0, 0);
}

/** Where a page that is larger than the stage leaves none of it empty. */
function filling(at, size, stage) {
  if (size < stage) return at;
  return Math.min(Math.max(at, stage - size - MARGIN_PX), MARGIN_PX);
}

function shiftInto(low, high, stage) {
  const margin = Math.min(60, stage / 4);
  if (low >= margin && high <= stage - margin) return 0;
  return stage / 2 - (low + high) / 2;
}

function toStage(x, y) {
  return [view.scale * x + view.x, view.scale * y + view.y];
}

function toPage(x, y) {
  return [(x - view.x) / view.scale, (y - view.y) / view.scale];
}
