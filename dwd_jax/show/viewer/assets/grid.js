// Boxes by place: which ones lie under the pointer, without asking them all.

const GRID_CELLS = 64; // along the longer side of the page
const MAX_CELLS_OF_BOX = 256; // larger boxes are asked every time

/** Sorts boxes (yxyx) into the cells of a grid over the page. */
function makeGrid(boxes, height, width) {
  const cell = Math.max(height, width) / GRID_CELLS;
  const rows = Math.ceil(height / cell);
  const columns = Math.ceil(width / cell);
  const clamp = (value, high) =>
    Math.min(Math.max(Math.floor(value / cell), 0), high - 1);
  const cells = new Map();
  const large = [];
  for (let i = 0; 4 * i < boxes.length; i++) {
    const top = clamp(boxes[4 * i], rows);
    const left = clamp(boxes[4 * i + 1], columns);
    const bottom = clamp(boxes[4 * i + 2], rows);
    const right = clamp(boxes[4 * i + 3], columns);
    if ((bottom - top + 1) * (right - left + 1) > MAX_CELLS_OF_BOX) {
      large.push(i);
      continue;
    }
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const key = row * columns + column;
        if (!cells.has(key)) cells.set(key, []);
        cells.get(key).push(i);
      }
    }
  }
  return { boxes, cell, rows, columns, clamp, cells, large };
}

/**
 * Whether a point lies in the outline of box `i` (eight numbers y, x; convex,
 * clockwise on the screen), or at most `slack` outside.
 */
function inOutline(outlines, i, y, x, slack) {
  for (let k = 0; k < 4; k++) {
    const from = 8 * i + 2 * k;
    const to = 8 * i + 2 * ((k + 1) % 4);
    const dy = outlines[to] - outlines[from];
    const dx = outlines[to + 1] - outlines[from + 1];
    const side = dx * (y - outlines[from]) - dy * (x - outlines[from + 1]);
    if (side < -slack * Math.hypot(dx, dy)) return false;
  }
  return true;
}

/**
 * The smallest box at a point for which `wanted(index)` holds; -1 if none.
 * `slack` is how far outside the point may lie, in pixels of the page.
 */
function boxAt(grid, y, x, slack, wanted) {
  const { boxes } = grid;
  let best = -1;
  let smallest = Infinity;
  const test = (i) => {
    const inside =
      y >= boxes[4 * i] - slack &&
      x >= boxes[4 * i + 1] - slack &&
      y <= boxes[4 * i + 2] + slack &&
      x <= boxes[4 * i + 3] + slack;
    if (!inside || !wanted(i)) return;
    const size = area(boxes, 4 * i);
    if (size < smallest) {
      smallest = size;
      best = i;
    }
  };
  grid.large.forEach(test);
  const bottom = grid.clamp(y + slack, grid.rows);
  const right = grid.clamp(x + slack, grid.columns);
  for (let row = grid.clamp(y - slack, grid.rows); row <= bottom; row++) {
    let column = grid.clamp(x - slack, grid.columns);
    for (; column <= right; column++) {
      grid.cells.get(row * grid.columns + column)?.forEach(test);
    }
  }
  return best;
}
