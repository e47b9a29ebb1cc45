// Starts the viewer, turns pages, and ties the controls to what they do.

const picture = element("picture");
const pageOfName = new Map(NAMES.map((name, i) => [name, i]));

let wantedPage = 0; // to show as soon as its part is loaded

/** The page that the address names; 0 where it names none. */
function pageOfHash() {
  const match = /^#page=(.*)$/s.exec(location.hash);
  if (!match) return 0;
  let name = match[1];
  try {
    name = decodeURIComponent(name);
  } catch {
    // A stray % that somebody typed: as it is.
  }
  if (pageOfName.has(name)) return pageOfName.get(name);
  announce(`There is no ${WORDS.image} ${name}`);
  return 0;
}

function goToPage(index) {
  if (index < 0 || index >= NAMES.length) return;
  if (location.hash === pageHash(index)) showPage(index);
  else if (index !== state.page || index !== wantedPage) {
    location.hash = pageHash(index);
  }
}

function turnPage(by) {
  goToPage(wantedPage + by);
}

/** The first page of the part before or after. */
function turnPart(by) {
  goToPage((partOf(wantedPage) + by) * DATA.partSize);
}

/** Shows a page, at once or when its part is loaded. */
function showPage(index) {
  wantedPage = index;
  const page = pageAt(index);
  if (page) showLoaded(index, page);
  else requestPart(partOf(index), () => partCame(partOf(index)));
  updateNotice();
}

function partCame(part) {
  if (partOf(wantedPage) === part && loaded.has(part)) showPage(wantedPage);
  updateNotice();
}

function showLoaded(index, page) {
  if (index === state.page) return;
  const inList = pageLinks.get(state.page) === document.activeElement;
  const part = partOf(index);
  const newPart = part !== partOf(state.page);
  if (newPart) keepPart(part, loaded.get(part));
  state.page = index;
  state.pinned = state.hovered = -1;
  current = loadBoxes(page);
  paper.style.width = `${current.width}px`;
  paper.style.height = `${current.height}px`;
  pictureFailed = false;
  picture.hidden = false;
  // Else the old picture stays until the new one is loaded.
  picture.removeAttribute("src");
  picture.src = page.image;
  element("page-name").textContent = page.name;
  element("page-name").title = page.name;
  const position = `${number(index + 1)} of ${number(NAMES.length)}`;
  element("page-position").textContent = position;
  element("previous").disabled = index === 0;
  element("next").disabled = index === NAMES.length - 1;
  listPages(newPart);
  const link = pageLinks.get(index);
  link?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (inList) link?.focus({ preventScroll: true });
  fitPage();
  applyFilters();
  const boxes = `${shown.order.length} boxes shown`;
  announce(`${page.name}, ${WORDS.image} ${position}, ${boxes}`);
}

function viewChanged() {
  element("zoom").textContent = `${Math.round(100 * view.scale)} %`;
  requestDraw();
}

function setMode(mode) {
  state.mode = DATA.hasTruth ? mode : "class";
  applyFilters();
}

function setScore(score) {
  state.minScore = Math.min(Math.max(Number(score.toFixed(4)), 0), 1);
  applyFilters();
}

function hideBoxes(hidden) {
  state.hidden = hidden;
  element("hide").setAttribute("aria-pressed", hidden);
  if (hidden) pin(-1);
  applyFilters();
}

function chooseAll() {
  state.classes.fill(1);
  applyFilters();
}

function focusSearch() {
  document.body.classList.add("panel-open");
  element("search").focus();
  element("search").select();
}

function toggleHelp() {
  const help = element("help");
  if (help.open) help.close();
  else help.showModal();
}

function downloadCsv() {
  if (!current) return;
  const blob = new Blob([shownAsCsv()], { type: "text/csv;charset=utf-8" });
  const link = make("a", { href: URL.createObjectURL(blob) });
  const name = current.page.name.replace(/[^\p{L}\p{N}.-]+/gu, "_");
  link.download = `${name || "page"}.csv`;
  link.click();
  // Revoked at once, the download would not begin in every browser.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function onClick(id, action) {
  element(id).addEventListener("click", action);
}

function listenToControls() {
  onClick("previous", () => turnPage(-1));
  onClick("next", () => turnPage(1));
  onClick("zoom-in", () => zoomTo(view.scale * 1.25));
  onClick("zoom-out", () => zoomTo(view.scale / 1.25));
  onClick("fit", fitPage);
  onClick("actual", () => zoomTo(1));
  onClick("hide", () => hideBoxes(!state.hidden));
  onClick("csv", downloadCsv);
  onClick("open-help", toggleHelp);
  onClick("close-help", toggleHelp);
  onClick("all", () => chooseListed(true));
  onClick("none", () => chooseListed(false));
  onClick("toggle-panel", () => document.body.classList.toggle("panel-open"));
  element("search").addEventListener("input", searchClasses);
  element("find").addEventListener("input", searchPages);
  element("find").addEventListener("keydown", (event) => {
    if (event.key === "Enter") goToFound();
  });
  element("part").addEventListener("change", ({ target }) =>
    goToPage(target.value * DATA.partSize),
  );
  element("score").addEventListener("input", (event) =>
    setScore(Number(Number(event.target.value).toFixed(2))),
  );
  element("score-number").addEventListener("input", (event) => {
    if (event.target.value !== "") setScore(event.target.valueAsNumber);
  });
  for (const input of document.getElementsByName("mode")) {
    input.addEventListener("change", () => setMode(input.value));
  }
}

function listenToStage() {
  stage.addEventListener("pointerdown", pointerDown);
  stage.addEventListener("pointermove", pointerMove);
  stage.addEventListener("pointerup", pointerUp);
  stage.addEventListener("pointercancel", pointerUp);
  stage.addEventListener("pointerleave", () => hover(-1));
  stage.addEventListener("wheel", wheel, { passive: false });
  stage.addEventListener("dblclick", (event) =>
    zoomTo(view.scale * 2, ...at(event)),
  );
  stage.addEventListener("focus", () => (tabLeaves = false));
  document.addEventListener("keydown", keyDown);
  window.addEventListener("hashchange", () => {
    if (NAMES.length) showPage(pageOfHash());
  });
  picture.addEventListener("error", () => {
    pictureFailed = true;
    picture.hidden = true;
    updateNotice();
  });
}

/** Follows the stage's size; a page that was fitted stays so. */
function followSize() {
  new ResizeObserver(([entry]) => {
    const { width, height } = entry.contentRect;
    const fitted = current && Math.abs(view.scale / fitScale() - 1) < 1e-3;
    resizeCanvas(width, height);
    if (fitted) fitPage();
    else if (current) keepInside();
    requestDraw();
  }).observe(stage);
  resizeCanvas(stage.clientWidth, stage.clientHeight);
}

function start() {
  element("title").textContent = DATA.title;
  element("modes").hidden = !DATA.hasTruth;
  element("iou").textContent = String(DATA.minIou);
  fillPartList();
  fillClassList();
  updatePageCounts(); // of the parts, should the first page not come
  fillLegend();
  listenToControls();
  listenToStage();
  followSize();
  if (NAMES.length) {
    showPage(pageOfHash());
  } else {
    document.body.classList.add("empty");
    updateNotice();
  }
  document.documentElement.dataset.readyMs = performance.now().toFixed(0);
}

start();
