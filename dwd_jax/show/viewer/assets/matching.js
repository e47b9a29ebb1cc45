// Pairs of detections and truth, by the rules of dwd_jax/metrics/matching.py:
// best score first, a detection takes the free true box of its class that it
// overlaps most; one that is no hit but lies on a true box of another class is
// a wrong class, any other is a false positive. Where both sides have oriented
// boxes, these are compared.

/** Intersection over union of boxes a and b (offsets into yxyx coordinates). */
function iou(boxes, a, b) {
  const top = Math.max(boxes[a], boxes[b]);
  const left = Math.max(boxes[a + 1], boxes[b + 1]);
  const bottom = Math.min(boxes[a + 2], boxes[b + 2]);
  const right = Math.min(boxes[a + 3], boxes[b + 3]);
  const inter = Math.max(bottom - top, 0) * Math.max(right - left, 0);
  const union = area(boxes, a) + area(boxes, b) - inter;
  return union > 0 ? inter / Math.max(union, 1e-9) : 0;
}

function area(boxes, at) {
  const height = Math.max(boxes[at + 2] - boxes[at], 0);
  return height * Math.max(boxes[at + 3] - boxes[at + 1], 0);
}

/**
 * True boxes that each detection overlaps by at least `minIou`, in their order.
 *
 * Compares `outlines`, or the `upright` boxes where it is null.
 *
 * Returns `start` (the pairs of detection i are start[i] .. start[i + 1]),
 * `truth` (index of the true box, from 0), `overlap` and `same` (class).
 */
function candidatePairs(upright, outlines, labels, numFound, numTrue, minIou) {
  const boxes = outlines ? boundsOf(outlines) : upright;
  const overlapOf = outlines
    ? (i, j) => (touch(boxes, i, j) ? orientedIou(outlines, i, j) : 0)
    : (i, j) => iou(boxes, 4 * i, 4 * j);
  const byTop = Array.from({ length: numTrue }, (_, i) => i);
  byTop.sort((i, j) => boxes[4 * (numFound + i)] - boxes[4 * (numFound + j)]);
  const tops = byTop.map((i) => boxes[4 * (numFound + i)]);
  let tallest = 0;
  byTop.forEach((i, k) => {
    tallest = Math.max(tallest, boxes[4 * (numFound + i) + 2] - tops[k]);
  });
  const start = new Uint32Array(numFound + 1);
  const truth = [];
  const overlap = [];
  const same = [];
  for (let i = 0; i < numFound; i++) {
    const top = boxes[4 * i];
    const bottom = boxes[4 * i + 2];
    // With that overlap a true box is at most height / minIou high, so it
    // begins no farther above. (The rest is for rounding.) One that slants has
    // most of its area in its middle, and may be higher.
    const reach = outlines
      ? tallest
      : ((bottom - top) / minIou) * 1.001 + 0.001;
    const near = [];
    for (let k = firstAtLeast(tops, top - reach); k < numTrue; k++) {
      if (tops[k] >= bottom) break;
      const value = overlapOf(i, numFound + byTop[k]);
      if (value >= minIou) near.push([byTop[k], value]);
    }
    near.sort((a, b) => a[0] - b[0]);
    for (const [j, value] of near) {
      truth.push(j);
      overlap.push(value);
      same.push(labels[i] === labels[numFound + j]);
    }
    start[i + 1] = truth.length;
  }
  return { start, truth, overlap, same, numTrue };
}

/** Whether upright boxes i and j overlap. */
function touch(boxes, i, j) {
  return (
    boxes[4 * i] < boxes[4 * j + 2] &&
    boxes[4 * j] < boxes[4 * i + 2] &&
    boxes[4 * i + 1] < boxes[4 * j + 3] &&
    boxes[4 * j + 1] < boxes[4 * i + 3]
  );
}

function firstAtLeast(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Matches the first `count` detections of a page, which are the best.
 *
 * Returns `hit` (the true box of each right detection, else -1), `confusedWith`
 * (the true box of another class under each wrong one, else -1) and `found`
 * (1 for true boxes that a right detection took).
 */
function matchBoxes(pairs, count) {
  const hit = new Int32Array(count).fill(-1);
  const confusedWith = new Int32Array(count).fill(-1);
  const found = new Uint8Array(pairs.numTrue);
  for (let i = 0; i < count; i++) {
    let best = -1;
    let other = -1;
    for (let k = pairs.start[i]; k < pairs.start[i + 1]; k++) {
      if (!pairs.same[k]) {
        if (other < 0 || pairs.overlap[k] > pairs.overlap[other]) other = k;
      } else if (!found[pairs.truth[k]]) {
        if (best < 0 || pairs.overlap[k] > pairs.overlap[best]) best = k;
      }
    }
    if (best >= 0) {
      hit[i] = pairs.truth[best];
      found[hit[i]] = 1;
    } else if (other >= 0) {
      confusedWith[i] = pairs.truth[other];
    }
  }
  return { hit, confusedWith, found };
}
