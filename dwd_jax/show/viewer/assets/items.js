// Which boxes of the page are shown, in which colour, and what they are.

const OUTCOMES = ["hit", "wrongClass", "falsePositive", "missed", "found"];
const OUTCOME_TEXT = {
  hit: "Hit",
  wrongClass: "Wrong class",
  falsePositive: "False positive",
  missed: "Missed",
  found: "Truth that was found",
};

const state = {
  page: -1,
  mode: "class", // or "truth", "compare"
  minScore: DATA.minScore,
  classes: new Uint8Array(DATA.classes.length).fill(1), // 1 = shown
  outcomes: new Set(["hit", "wrongClass", "falsePositive", "missed"]),
  hidden: false, // all boxes, to see the page
  hovered: -1,
  pinned: -1,
};

let current = null; // boxes of the page, see loadBoxes
let shown = null; // what of them is shown, see findShown

/** The mode, where the page has what it needs. */
function modeOf() {
  return current?.page.truth ? state.mode : "class";
}

/**
 * Applies mode, score and filters to the page.
 *
 * Returns `visible` (1 for boxes to draw), `order` (these, those of a colour
 * together), `outcome` (index into OUTCOMES, when comparing), `matches`,
 * `outcomeCounts` (of the chosen classes) and per class `found`, `truth`,
 * `hits` (of all classes).
 */
function findShown() {
  const { numFound, numTrue, labels, scores, pairs } = current;
  const mode = modeOf();
  const count = countAtLeast(scores, state.minScore);
  const matches = mode === "compare" ? matchBoxes(pairs, count) : null;
  const visible = new Uint8Array(numFound + numTrue);
  const outcome = new Uint8Array(numFound + numTrue);
  const perClass = () => new Uint32Array(DATA.classes.length);
  const counts = { found: perClass(), truth: perClass(), hits: perClass() };
  const outcomeCounts = new Uint32Array(OUTCOMES.length);
  const order = [];
  const add = (i, wanted) => {
    if (matches) {
      outcome[i] = OUTCOMES.indexOf(outcomeOf(i, matches));
      if (state.classes[labels[i]]) outcomeCounts[outcome[i]]++;
      wanted = state.outcomes.has(OUTCOMES[outcome[i]]);
    }
    if (!wanted || !state.classes[labels[i]]) return;
    visible[i] = 1;
    order.push(i);
  };
  for (let i = 0; i < count; i++) {
    counts.found[labels[i]]++;
    if (matches && matches.hit[i] >= 0) counts.hits[labels[i]]++;
    add(i, mode === "class");
  }
  for (let i = numFound; i < numFound + numTrue; i++) {
    counts.truth[labels[i]]++;
    add(i, mode === "truth");
  }
  // What was found lies under everything else when comparing.
  const rank = (i) => (matches ? -outcome[i] : labels[i]);
  const under = (i) => (matches && OUTCOMES[outcome[i]] === "found" ? 0 : 1);
  order.sort((i, j) => under(i) - under(j) || rank(j) - rank(i) || i - j);
  return { visible, order, outcome, matches, outcomeCounts, counts };
}

function outcomeOf(i, matches) {
  if (i >= current.numFound) {
    return matches.found[i - current.numFound] ? "found" : "missed";
  }
  if (matches.hit[i] >= 0) return "hit";
  return matches.confusedWith[i] >= 0 ? "wrongClass" : "falsePositive";
}

function colourOf(i) {
  return shown.matches
    ? DATA.outcomes[OUTCOMES[shown.outcome[i]]]
    : DATA.colours[current.labels[i]];
}

/** What a person should know of a box, as strings. */
function describe(i) {
  const { boxes, labels, scores, numFound } = current;
  const name = DATA.classes[labels[i]];
  const isTruth = i >= numFound;
  const height = boxes[4 * i + 2] - boxes[4 * i];
  const width = boxes[4 * i + 3] - boxes[4 * i + 1];
  const result = {
    name,
    score: isTruth ? "truth" : `score ${formatScore(scores[i])}`,
    size: `${formatPx(width)} × ${formatPx(height)} px`,
    position: formatPosition(positionOf(i)),
    outcome: "",
    trueName: "",
  };
  if (shown.matches) {
    const outcome = OUTCOMES[shown.outcome[i]];
    result.outcome = OUTCOME_TEXT[outcome];
    if (outcome === "wrongClass") {
      const other = numFound + shown.matches.confusedWith[i];
      result.trueName = DATA.classes[labels[other]];
      result.outcome += `, truth: ${result.trueName}`;
    }
  }
  return result;
}

/** Place on the staff of a box; "" = none. */
function positionOf(i) {
  const position = current.positions?.[i] ?? NO_POSITION;
  return position === NO_POSITION ? "" : position;
}

function formatPosition(position) {
  if (position === "") return "";
  return `position ${position > 0 ? "+" : ""}${position}`;
}

function formatScore(score) {
  return score.toFixed(score > 0 && score < 0.01 ? 4 : 2);
}

function formatPx(value) {
  return value < 100 ? String(Number(value.toFixed(1))) : value.toFixed(0);
}

/** The shown boxes as a person reads: by rows from the top, each rightwards. */
function readingOrder() {
  const { boxes, height } = current;
  const row = (i) =>
    Math.floor((boxes[4 * i] + boxes[4 * i + 2]) / 2 / (height / 24));
  const middle = (i) => boxes[4 * i + 1] + boxes[4 * i + 3];
  return [...shown.order].sort(
    (i, j) => row(i) - row(j) || middle(i) - middle(j) || i - j,
  );
}

/** What is shown, as the text of a CSV file. */
function shownAsCsv() {
  const { boxes, outlines, positions, labels, scores, numFound } = current;
  const compare = Boolean(shown.matches);
  const head = ["page", "class", "score", "x", "y", "width", "height"];
  if (compare) head.push("outcome", "true_class");
  const corners = ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"];
  if (outlines) head.push(...corners);
  if (positions) head.push("position");
  const rows = [head];
  for (const i of [...shown.order].sort((a, b) => a - b)) {
    const [top, left, bottom, right] = boxes.subarray(4 * i, 4 * i + 4);
    const px = [left, top, right - left, bottom - top];
    const text = describe(i);
    rows.push([
      current.page.name,
      text.name,
      i < numFound ? Number(scores[i].toFixed(6)) : "",
      ...px.map((value) => Number(value.toFixed(2))),
      ...(compare ? [OUTCOMES[shown.outcome[i]], text.trueName] : []),
      ...(outlines ? cornersOf(outlines, i) : []),
      ...(positions ? [positionOf(i)] : []),
    ]);
  }
  return rows.map((row) => row.map(csvField).join(",") + "\r\n").join("");
}

/** Four corners x, y, rounded. */
function cornersOf(outlines, i) {
  return [1, 0, 3, 2, 5, 4, 7, 6].map((k) =>
    Number(outlines[8 * i + k].toFixed(2)),
  );
}

function csvField(value) {
  if (typeof value === "number") return String(value);
  // A spreadsheet would run text that begins so as a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
