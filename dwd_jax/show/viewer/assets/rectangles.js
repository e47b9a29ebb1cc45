// Overlap of oriented boxes, by the rules of dwd_jax/core/rectangles.py. Outlines
// have eight numbers of each box: four corners (y, x) in order.

const TINY = 1e-12;

/** Upright boxes (yxyx) around outlines. */
function boundsOf(outlines) {
  const bounds = new Float32Array(outlines.length / 2);
  for (let i = 0; 8 * i < outlines.length; i++) {
    const [y0, x0, y1, x1, y2, x2, y3, x3] = outlines.subarray(8 * i, 8 * i + 8);
    bounds[4 * i] = Math.min(y0, y1, y2, y3);
    bounds[4 * i + 1] = Math.min(x0, x1, x2, x3);
    bounds[4 * i + 2] = Math.max(y0, y1, y2, y3);
    bounds[4 * i + 3] = Math.max(x0, x1, x2, x3);
  }
  return bounds;
}

/**
 * Intersection over union of a rectangle, box a, and a quadrilateral, box b.
 *
 * By Green's theorem the intersection with |x| <= w, |y| <= h is the integral of
 * x clipped to it over dy along the other's outline, where |y| <= h.
 */
function orientedIou(outlines, a, b) {
  const [one, two] = sidesOf(outlines, a);
  const [first, second] = [Math.sqrt(squared(one)), Math.sqrt(squared(two))];
  const long = first < second ? two : one;
  const length = Math.max(first, second);
  const width = Math.min(first, second);
  const unitY = long[0] / Math.max(length, TINY);
  const unitX = long[1] / Math.max(length, TINY);
  const middle = [0, 1].map((k) => {
    const at = 8 * a + k;
    const sum = outlines[at] + outlines[at + 2] + outlines[at + 4];
    return (sum + outlines[at + 6]) / 4;
  });
  // Corners of b as the rectangle sees them: along and across its longer side.
  const seen = [0, 2, 4, 6].map((k) => {
    const dy = outlines[8 * b + k] - middle[0];
    const dx = outlines[8 * b + k + 1] - middle[1];
    return [dx * unitX + dy * unitY, dy * unitX - dx * unitY];
  });
  let inter = 0;
  for (let k = 0; k < 4; k++) {
    inter += underSide(seen[k], seen[(k + 1) % 4], length / 2, width / 2);
  }
  inter = Math.abs(inter);
  const [down, along] = sidesOf(outlines, b);
  const areaOfB = Math.abs(down[0] * along[1] - down[1] * along[0]);
  const union = length * width + areaOfB - inter;
  const share = union > 0 ? inter / Math.max(union, TINY) : 0;
  return Number.isFinite(share) ? clip(share, 0, 1) : 0;
}

/** Vectors (y, x) of two neighbouring sides, each the mean of opposite ones. */
function sidesOf(outlines, i) {
  const c = outlines.subarray(8 * i, 8 * i + 8);
  return [
    [(c[2] - c[0] + c[4] - c[6]) / 2, (c[3] - c[1] + c[5] - c[7]) / 2],
    [(c[6] - c[0] + c[4] - c[2]) / 2, (c[7] - c[1] + c[5] - c[3]) / 2],
  ];
}

const squared = ([y, x]) => y * y + x * x;
const clip = (value, low, high) => Math.min(Math.max(value, low), high);

/** Integral over dy of x clipped to +-w, where |y| <= h, along one side. */
function underSide([x0, y0], [x1, y1], w, h) {
  const dy = y1 - y0;
  const [c0, c1] = [clip(y0, -h, h), clip(y1, -h, h)];
  const scale = 1 / (Math.abs(dy) < TINY ? 1 : dy);
  const e0 = x0 + (x1 - x0) * clip((c0 - y0) * scale, 0, 1);
  const e1 = x0 + (x1 - x0) * clip((c1 - y0) * scale, 0, 1);
  const [low, high] = [Math.min(e0, e1), Math.max(e0, e1)];
  const span = high - low;
  // How much of the way lies left and right of the rectangle.
  const left = clip(-w - low, 0, span);
  const right = clip(high - w, 0, span);
  const inside = (clip(low, -w, w) + clip(high, -w, w)) / 2;
  const shift = left * (-w - inside) + right * (w - inside);
  return (inside + shift / Math.max(span, TINY)) * (c1 - c0);
}
