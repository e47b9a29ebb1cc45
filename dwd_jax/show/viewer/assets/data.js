"use strict";

// The pages as Python wrote them (dwd_jax/show/viewer/write.py), and their arrays.
// Few pages are all in DATA; many come in parts, files that are loaded when one
// of their pages is to be shown.

const DATA = JSON.parse(document.getElementById("data").textContent);
const WORDS = DATA.words; // what pages and what is on them are called
const NAMES = DATA.names ?? DATA.pages.map((page) => page.name);
const MAX_LOADED = 3; // parts
const NO_POSITION = -128; // on the staff

const loaded = new Map(); // part -> its pages, the latest last
const requested = new Set(); // parts that are on their way
const failedParts = new Map(); // part -> why it is not there

const partOf = (index) => Math.floor(index / DATA.partSize);

/** A page; undefined if its part is not loaded. */
function pageAt(index) {
  return loaded.get(partOf(index))?.[index % DATA.partSize];
}

/** Loads a part, and calls `then` when it is there, or in `failedParts`. */
function requestPart(part, then) {
  if (requested.has(part)) return;
  requested.add(part);
  const file = `viewer/part-${String(part + 1).padStart(4, "0")}.js`;
  const script = document.createElement("script");
  const end = (why) => {
    script.remove();
    requested.delete(part);
    if (loaded.has(part)) failedParts.delete(part);
    else failedParts.set(part, `${file} ${why}`);
    then();
  };
  script.addEventListener("load", () =>
    end("is of another run than this file; make them again."),
  );
  script.addEventListener("error", () =>
    end("cannot be loaded; it belongs into the folder of this file."),
  );
  script.src = file;
  document.head.append(script);
}

/** Called by the file of a part: its number from 1, and its pages as JSON. */
function receivePart(fileNumber, digest, text) {
  const part = fileNumber - 1;
  if (DATA.parts[part]?.digest !== digest) return;
  keepPart(part, JSON.parse(text).map(countable));
}

/** Adds labels and scores, with which the list of pages counts. */
function countable(page) {
  page.labels = decode(page.found.labels, Uint16Array);
  page.scores = decode(page.found.scores, Float32Array);
  return page;
}

/** Keeps a part as the latest of a few. */
function keepPart(part, pages) {
  loaded.delete(part);
  loaded.set(part, pages);
  const [oldest] = loaded.keys();
  if (loaded.size > MAX_LOADED) loaded.delete(oldest);
}

if (DATA.pages) keepPart(0, DATA.pages.map(countable));

/** Bytes of a base64 string as a typed array of little-endian numbers. */
function decode(base64, Type) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** The boxes of a page: those found, then the true ones. */
function loadBoxes(page) {
  const { labels, scores, truth } = page;
  const numFound = labels.length;
  const numTrue = truth ? truth.n : 0;
  const boxes = new Float32Array(4 * (numFound + numTrue)); // yxyx
  boxes.set(decode(page.found.boxes, Float32Array));
  const allLabels = new Uint16Array(numFound + numTrue);
  allLabels.set(labels);
  if (truth) {
    boxes.set(decode(truth.boxes, Float32Array), 4 * numFound);
    allLabels.set(decode(truth.labels, Uint16Array), numFound);
  }
  const outlines = loadOutlines(page, boxes);
  const positions = loadPositions(page);
  // Points (y, x) of each line of a staff.
  const staffLines = (page.staffLines ?? []).map((line) =>
    decode(line, Float32Array),
  );
  // Outlines of no boxes are "".
  const comparesOriented =
    page.found.outlines !== undefined && truth?.outlines !== undefined;
  const compared = comparesOriented ? outlines : null;
  const pairs = truth
    ? candidatePairs(boxes, compared, allLabels, numFound, numTrue, DATA.minIou)
    : null;
  const [height, width] = page.hw;
  return {
    page,
    numFound,
    numTrue,
    boxes,
    outlines,
    comparesOriented,
    positions,
    staffLines,
    labels: allLabels,
    scores,
    pairs,
    height,
    width,
    grid: makeGrid(boxes, height, width),
  };
}

/**
 * Four corners (y, x) of each oriented box, those of upright ones where only
 * the truth or only the detections are oriented; null where neither are.
 */
function loadOutlines({ found, truth }, boxes) {
  if (!found.outlines && !truth?.outlines) return null;
  const outlines = new Float32Array(2 * boxes.length);
  for (let i = 0; 4 * i < boxes.length; i++) {
    const [top, left, bottom, right] = boxes.subarray(4 * i, 4 * i + 4);
    outlines.set([top, left, top, right, bottom, right, bottom, left], 8 * i);
  }
  const put = (side, first) => {
    if (!side?.outlines) return;
    outlines.set(decode(side.outlines, Float32Array), 8 * first);
  };
  put(found, 0);
  put(truth, found.n);
  return outlines;
}

/** Place on the staff of each box, NO_POSITION = none; null without any. */
function loadPositions({ found, truth }) {
  if (!found.positions && !truth?.positions) return null;
  const positions = new Int8Array(found.n + (truth?.n ?? 0)).fill(NO_POSITION);
  if (found.positions) positions.set(decode(found.positions, Int8Array));
  if (truth?.positions) {
    positions.set(decode(truth.positions, Int8Array), found.n);
  }
  return positions;
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
