// What a person does: pointer, wheel, fingers, keys.

const stage = document.getElementById("stage");
const CLICK_PX = 4; // a pointer that moved less was a click
const SLACK_PX = 3; // around a box that count as the box
const PAN_PX = 80; // of an arrow key

function pin(i) {
  state.pinned = i;
  state.hovered = -1;
  fillTip();
  requestDraw();
  if (i < 0) return;
  tabLeaves = false;
  const text = describe(i);
  const parts = [
    text.name,
    text.outcome,
    text.score,
    text.size,
    text.position,
  ];
  announce(parts.filter(Boolean).join(", "));
}

/** Pins the next (1) or previous (-1) box; false where there is none. */
function step(direction) {
  if (!current || state.hidden) return false;
  const order = readingOrder();
  const at = order.indexOf(state.pinned);
  const next = at < 0 && direction < 0 ? order.length - 1 : at + direction;
  if (!(next in order)) return false;
  pin(order[next]);
  bringIntoView(order[next]);
  return true;
}

function stepAround(direction) {
  if (step(direction)) return;
  state.pinned = -1;
  step(direction);
}

// Pointers

const pointers = new Map(); // id -> [x, y] in the stage
let moved = 0;

function at(event) {
  const { left, top } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
}

function boxUnder([sx, sy]) {
  if (!current || state.hidden) return -1;
  const [x, y] = toPage(sx, sy);
  const slack = SLACK_PX / view.scale;
  const { grid, outlines } = current;
  const hit = (i) => !outlines || inOutline(outlines, i, y, x, slack);
  return boxAt(grid, y, x, slack, (i) => shown.visible[i] === 1 && hit(i));
}

function hover(i) {
  if (i === state.hovered) return;
  state.hovered = i;
  stage.classList.toggle("on-box", i >= 0);
  fillTip();
  requestDraw();
}

/** Middle of the fingers and how far apart they are. */
function pinch() {
  const [[x0, y0], [x1, y1]] = pointers.values();
  return [(x0 + x1) / 2, (y0 + y1) / 2, Math.hypot(x1 - x0, y1 - y0)];
}

function pointerDown(event) {
  if (event.button !== 0) return;
  stage.focus({ preventScroll: true });
  stage.setPointerCapture(event.pointerId);
  if (!pointers.size) moved = 0;
  pointers.set(event.pointerId, at(event));
}

function pointerMove(event) {
  const here = at(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    if (event.pointerType === "mouse") hover(boxUnder(here));
    return;
  }
  const two = pointers.size === 2 ? pinch() : null;
  pointers.set(event.pointerId, here);
  moved += Math.abs(here[0] - before[0]) + Math.abs(here[1] - before[1]);
  if (moved < CLICK_PX) return;
  stage.classList.add("dragging");
  if (two) {
    const [x, y, apart] = pinch();
    panBy(x - two[0], y - two[1]);
    zoomTo(view.scale * (apart / Math.max(two[2], 1)), x, y);
  } else if (pointers.size === 1) {
    panBy(here[0] - before[0], here[1] - before[1]);
  }
}

function pointerUp(event) {
  if (!pointers.delete(event.pointerId)) return;
  stage.classList.remove("dragging");
  if (event.type === "pointerup" && moved < CLICK_PX) {
    const i = boxUnder(at(event));
    pin(i === state.pinned ? -1 : i);
  }
}

function wheel(event) {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  // A touchpad's pinch comes as a wheel with Ctrl, in small steps.
  const speed = event.ctrlKey ? 0.01 : 0.002;
  const change = Math.min(Math.max(-event.deltaY * lines * speed, -0.5), 0.5);
  zoomTo(view.scale * Math.exp(change), ...at(event));
  hover(boxUnder(at(event)));
}

// Keys

const KEYS = {
  j: () => turnPage(1),
  k: () => turnPage(-1),
  ArrowRight: () => turnPage(1),
  ArrowDown: () => turnPage(1),
  ArrowLeft: () => turnPage(-1),
  ArrowUp: () => turnPage(-1),
  Home: () => goToPage(0),
  End: () => goToPage(NAMES.length - 1),
  PageDown: () => turnPart(1),
  PageUp: () => turnPart(-1),
  "+": () => zoomTo(view.scale * 1.25),
  "=": () => zoomTo(view.scale * 1.25),
  "-": () => zoomTo(view.scale / 1.25),
  0: () => zoomTo(1),
  f: fitPage,
  n: () => stepAround(1),
  p: () => stepAround(-1),
  c: () => setMode(state.mode === "compare" ? "class" : "compare"),
  t: () => setMode(state.mode === "truth" ? "class" : "truth"),
  h: () => hideBoxes(!state.hidden),
  a: () => chooseAll(),
  o: () => markedBox() >= 0 && showOnlyClass(current.labels[markedBox()]),
  "[": () => setScore(state.minScore - 0.05),
  "]": () => setScore(state.minScore + 0.05),
  "/": focusSearch,
  g: focusFind,
  d: downloadCsv,
  "?": toggleHelp,
  Escape: escape,
};

const SHIFTED = {
  ArrowLeft: () => panBy(PAN_PX, 0),
  ArrowRight: () => panBy(-PAN_PX, 0),
  ArrowUp: () => panBy(0, PAN_PX),
  ArrowDown: () => panBy(0, -PAN_PX),
};

let tabLeaves = false; // the next Tab leaves the stage

function escape() {
  tabLeaves = true;
  document.body.classList.remove("panel-open");
  const field = document.activeElement;
  if (field.id === "find") clearSearch();
  if (field.matches?.("input, select")) field.blur();
  pin(-1);
}

/** Whether a focused field needs the key itself. */
function belongsToField(event) {
  const field = event.target;
  if (event.key === "Escape") return false;
  if (field.matches?.("select")) return true;
  if (!field.matches?.("input")) return false;
  if (["checkbox", "radio", "range"].includes(field.type)) {
    const own = field.type === "checkbox" ? [] : ["Home", "End"];
    const arrows = field.type !== "checkbox" && event.key.startsWith("Arrow");
    return arrows || own.includes(event.key);
  }
  return true;
}

function keyDown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (element("help").open && event.key !== "?") return;
  if (event.key === "Tab") {
    if (event.target !== stage || tabLeaves) return;
    if (event.shiftKey && state.pinned < 0) return;
    if (step(event.shiftKey ? -1 : 1)) event.preventDefault();
    return;
  }
  if (belongsToField(event)) return;
  const action = (event.shiftKey && SHIFTED[event.key]) || KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}
