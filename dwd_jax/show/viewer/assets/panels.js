// The lists beside the page, and what follows when a filter changes.

const element = (id) => document.getElementById(id);

/** Makes an element with properties, attributes (aria...) and children. */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function swatch(colour) {
  const made = make("i", { className: "swatch" });
  made.style.background = colour;
  return made;
}

const number = (value) => value.toLocaleString("en");

// Classes

const classRows = []; // {label, row, box, count}, the most frequent first

function fillClassList() {
  const totals = new Uint32Array(DATA.classes.length);
  for (const { counts } of DATA.parts) {
    for (const [label, found, truth] of counts) totals[label] += found + truth;
  }
  const labels = [...totals.keys()].filter((label) => totals[label]);
  labels.sort((a, b) => totals[b] - totals[a] || a - b);
  for (const label of labels) {
    const name = DATA.classes[label];
    const box = make("input", { type: "checkbox", checked: true });
    const count = make("span", { className: "count" });
    const only = make("button", {
      type: "button",
      className: "only",
      textContent: "only",
      title: `Show only ${name}`,
      "aria-label": `Show only ${name}`,
    });
    const text = make("span", { className: "name", textContent: name });
    text.title = name;
    const mark = swatch(DATA.colours[label]);
    const row = make("li", {}, make("label", {}, box, mark, text, count), only);
    box.addEventListener("change", () => {
      state.classes[label] = box.checked ? 1 : 0;
      applyFilters();
    });
    only.addEventListener("click", () => showOnlyClass(label));
    classRows.push({ label, row, box, count });
    element("class-list").append(row);
  }
}

/** Chooses or drops the classes that the search field lets through. */
function chooseListed(on) {
  for (const { label, row } of classRows) {
    if (!row.hidden) state.classes[label] = on ? 1 : 0;
  }
  applyFilters();
}

function showOnlyClass(label) {
  state.classes.fill(0);
  state.classes[label] = 1;
  applyFilters();
}

function searchClasses() {
  const text = element("search").value.trim().toLowerCase();
  let listed = 0;
  for (const { label, row } of classRows) {
    row.hidden = !DATA.classes[label].toLowerCase().includes(text);
    listed += row.hidden ? 0 : 1;
  }
  element("no-class").hidden = listed > 0;
}

function updateClassList() {
  const { counts } = shown;
  const mode = modeOf();
  element("class-list").classList.toggle("comparing", mode === "compare");
  for (const { label, row, box, count } of classRows) {
    const found = counts.found[label];
    const truth = counts.truth[label];
    box.checked = Boolean(state.classes[label]);
    if (mode === "compare") {
      const hits = counts.hits[label];
      count.textContent = `${number(hits)}/${number(truth)}`;
      count.title = `${hits} of ${truth} found; ${found} detections`;
    } else {
      count.textContent = number(mode === "truth" ? truth : found);
      count.title = "";
    }
    row.classList.toggle("absent", !found && !truth);
  }
}

// Compare

const outcomeRows = []; // {outcome, box, count}

function fillLegend() {
  for (const outcome of OUTCOMES) {
    const box = make("input", {
      type: "checkbox",
      checked: state.outcomes.has(outcome),
    });
    const count = make("span", { className: "count" });
    const row = make(
      "label",
      { "data-outcome": outcome },
      box,
      swatch(DATA.outcomes[outcome]),
      make("span", { className: "name", textContent: OUTCOME_TEXT[outcome] }),
      count,
    );
    box.addEventListener("change", () => {
      if (box.checked) state.outcomes.add(outcome);
      else state.outcomes.delete(outcome);
      applyFilters();
    });
    outcomeRows.push({ outcome, count });
    element("legend-list").append(make("li", {}, row));
  }
}

function updateLegend() {
  const comparing = modeOf() === "compare";
  element("legend").hidden = !comparing;
  if (!comparing) return;
  for (const { outcome, count } of outcomeRows) {
    const value = shown.outcomeCounts[OUTCOMES.indexOf(outcome)];
    count.textContent = number(value);
  }
  element("compared").hidden = !current.outlines;
  element("compared").textContent = current.comparesOriented
    ? "By the overlap of the oriented boxes."
    : "By the overlap of upright boxes, as only one side has oriented ones.";
  const [hits, wrong, extra, missed] = shown.outcomeCounts;
  const share = (part, whole) => (whole ? (part / whole).toFixed(3) : "–");
  element("precision").textContent = share(hits, hits + wrong + extra);
  element("recall").textContent = share(hits, hits + missed);
}

// All of it

/** Brings everything in line with the state: after any filter changed. */
function applyFilters() {
  if (!current) return;
  shown = findShown();
  if (state.pinned >= 0 && !shown.visible[state.pinned]) state.pinned = -1;
  state.hovered = -1;
  for (const input of document.getElementsByName("mode")) {
    input.checked = input.value === modeOf();
    input.disabled = input.value !== "class" && !current.page.truth;
  }
  element("score").value = state.minScore;
  if (document.activeElement !== element("score-number")) {
    element("score-number").value = Number(state.minScore.toFixed(4));
  }
  element("shown-count").textContent =
    `${number(shown.order.length)} boxes shown on this ${WORDS.image}`;
  updateClassList();
  updateLegend();
  updatePageCounts();
  updateNotice();
  fillTip();
  requestDraw();
}

let pictureFailed = false;

function updateNotice() {
  const lines = [];
  if (!NAMES.length) {
    lines.push(`There are no ${WORDS.images} to show.`);
  } else if (!pageAt(wantedPage)) {
    const part = partOf(wantedPage);
    const why = requested.has(part) ? null : failedParts.get(part);
    lines.push(why ?? `Loading the ${WORDS.images} ${pagesOfPart(part)} …`);
  } else if (current) {
    const { file } = current.page;
    if (pictureFailed) {
      lines.push(
        `The picture ${file} is missing or cannot be shown; boxes only.`,
      );
    }
    if (!current.numFound && !current.numTrue) {
      lines.push(`Nothing was found on this ${WORDS.image}.`);
    } else if (state.hidden) {
      lines.push("Boxes are hidden; press h to see them.");
    } else if (!shown.order.length) {
      lines.push(
        `No box of this ${WORDS.image} passes the score and the filters.`,
      );
    }
  }
  element("notice").hidden = !lines.length;
  element("notice").textContent = lines.join("\n");
}

function announce(text) {
  element("live").textContent = text;
}
