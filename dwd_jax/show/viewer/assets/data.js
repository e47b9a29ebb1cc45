"use strict";

// The pages as Python wrote them (dwd_jax/show/viewer/write.py), and their arrays.

const DATA = JSON.parse(document.getElementById("data").textContent);

/** Bytes of a base64 string as a typed array of little-endian numbers. */
function decode(base64, Type) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** Labels and scores of all pages: the list of pages counts with them. */
const SUMMARIES = DATA.pages.map((page) => ({
  labels: decode(page.found.labels, Uint16Array),
  scores: decode(page.found.scores, Float32Array),
  trueLabels: page.truth ? decode(page.truth.labels, Uint16Array) : null,
}));

const HAS_TRUTH = DATA.pages.some((page) => page.truth);

/** The boxes of a page: those found, then the true ones. */
function loadBoxes(index) {
  const page = DATA.pages[index];
  const { labels, scores, trueLabels } = SUMMARIES[index];
  const numFound = labels.length;
  const numTrue = trueLabels ? trueLabels.length : 0;
  const boxes = new Float32Array(4 * (numFound + numTrue)); // yxyx
  boxes.set(decode(page.found.boxes, Float32Array));
  const allLabels = new Uint16Array(numFound + numTrue);
  allLabels.set(labels);
  if (trueLabels) {
    boxes.set(decode(page.truth.boxes, Float32Array), 4 * numFound);
    allLabels.set(trueLabels, numFound);
  }
  const pairs = page.truth
    ? candidatePairs(boxes, allLabels, numFound, numTrue, DATA.minIou)
    : null;
  const [height, width] = page.hw;
  return {
    numFound,
    numTrue,
    boxes,
    labels: allLabels,
    scores,
    pairs,
    height,
    width,
    grid: makeGrid(boxes, height, width),
  };
}

/**
 * How many detections have a score of at least `minScore`. They come best
 * first, so these are the first ones.
 */
function countAtLeast(scores, minScore) {
  // Scores are float32; so is the threshold they are compared with in Python.
  const least = Math.fround(minScore);
  let low = 0;
  let high = scores.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scores[middle] >= least) low = middle + 1;
    else high = middle;
  }
  return low;
}
