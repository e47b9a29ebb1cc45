// The list of pages: those of a part, or those that a search finds anywhere.

const MAX_FOUND = 200; // of a search, listed
const SEARCH_FROM = 10; // pages; fewer can be seen at once

const pageLinks = new Map(); // index of a listed page -> its link
const pageHash = (index) => `#page=${encodeURIComponent(NAMES[index])}`;

let listing = ""; // what is listed: a part and what is searched for
const searchKeys = []; // the names as the search compares them

function fillPartList() {
  element("page-tools").hidden = NAMES.length < SEARCH_FROM;
  element("part").hidden = DATA.parts.length < 2;
  DATA.parts.forEach((_, part) => {
    element("part").append(make("option", { value: part }));
  });
}

/** First and last page of a part, as a person counts. */
function pagesOfPart(part) {
  const first = part * DATA.partSize;
  const last = Math.min(first + DATA.partSize, NAMES.length);
  return `${number(first + 1)}–${number(last)}`;
}

/** Lists what is to be listed; `again` = a part was loaded meanwhile. */
function listPages(again = false) {
  const text = element("find").value.trim().toLowerCase();
  const part = partOf(Math.max(state.page, 0));
  const wanted = text ? `search ${text}` : `part ${part}`;
  if (wanted !== listing || again) {
    listing = wanted;
    if (text) showFound(findPages(text));
    else showLinks(indicesOfPart(part), "");
  }
  element("part").value = part;
  for (const [index, link] of pageLinks) {
    if (index === state.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function indicesOfPart(part) {
  const length = loaded.get(part)?.length ?? 0;
  return Array.from({ length }, (_, i) => part * DATA.partSize + i);
}

function findPages(text) {
  if (!searchKeys.length) {
    for (const name of NAMES) searchKeys.push(name.toLowerCase());
  }
  const found = [];
  for (let i = 0; i < searchKeys.length && found.length <= MAX_FOUND; i++) {
    if (searchKeys[i].includes(text)) found.push(i);
  }
  return found;
}

function showFound(indices) {
  const notice =
    indices.length > MAX_FOUND
      ? `The first ${MAX_FOUND}; there are more.`
      : `No ${WORDS.image} has this in its name.`;
  const all = 0 < indices.length && indices.length <= MAX_FOUND;
  showLinks(indices.slice(0, MAX_FOUND), all ? "" : notice);
}

function showLinks(indices, notice) {
  pageLinks.clear();
  for (const index of indices) pageLinks.set(index, makeLink(index));
  const rows = [...pageLinks.values()].map((link) => make("li", {}, link));
  element("page-list").replaceChildren(...rows);
  element("find-notice").hidden = !notice;
  element("find-notice").textContent = notice;
}

function makeLink(index) {
  const page = pageAt(index);
  const name = NAMES[index];
  const link = make("a", { href: pageHash(index), title: name });
  if (page) {
    const source = page.thumbnail ?? page.image;
    const picture = source
      ? make("img", { loading: "lazy", decoding: "async", alt: "" })
      : make("span", { className: "blank", textContent: "no picture" });
    if (source) picture.src = source;
    link.append(make("span", { className: "thumbnail" }, picture));
  }
  link.append(
    make("span", { className: "name", textContent: name }),
    make("span", { className: "count" }),
  );
  return link;
}

/** Detections of a page that pass the score and the chosen classes. */
function countOfPage({ labels, scores }) {
  const count = countAtLeast(scores, state.minScore);
  let result = 0;
  for (let i = 0; i < count; i++) result += state.classes[labels[i]];
  return result;
}

function updatePageCounts() {
  for (const [index, link] of pageLinks) {
    const page = pageAt(index);
    if (!page) continue;
    const count = countOfPage(page);
    link.lastChild.textContent = number(count);
    link.setAttribute(
      "aria-label",
      `${NAMES[index]}, ${number(count)} ${WORDS.objects}`,
    );
  }
  if (DATA.parts.length < 2) return;
  // At all scores: those of other parts are not here.
  DATA.parts.forEach(({ counts }, part) => {
    let count = 0;
    for (const [label, found] of counts) count += state.classes[label] * found;
    element("part").options[part].textContent =
      `${pagesOfPart(part)} · ${number(count)}`;
  });
}

function searchPages() {
  listPages();
  element("pages").scrollTop = 0;
  updatePageCounts();
}

function goToFound() {
  const [first] = pageLinks.keys();
  if (element("find").value.trim() && first !== undefined) goToPage(first);
}

function clearSearch() {
  element("find").value = "";
  listPages();
  updatePageCounts();
  pageLinks.get(state.page)?.scrollIntoView({ block: "nearest" });
}

function focusFind() {
  if (element("page-tools").hidden) return;
  element("find").focus();
  element("find").select();
}
