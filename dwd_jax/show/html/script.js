"use strict";

// Sorts a table by the column whose name is clicked; again: the other way.
function sort(table, column, heading) {
  const before = heading.getAttribute("aria-sort");
  const first = column === 0 ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  const body = table.tBodies[0];
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined
      ? cell.textContent : Number(cell.dataset.v);
  };
  const rows = Array.from(body.rows, (row) => [key(row), row]);
  rows.sort(([a], [b]) => sign * (
    typeof a === "number" && typeof b === "number"
      ? a - b : String(a).localeCompare(String(b))));
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    heading.querySelector("button").addEventListener(
      "click", () => sort(table, column, heading));
  });
}

// Shows the rows whose name has the text of the field.
for (const input of document.querySelectorAll(".find input")) {
  const table = document.querySelector("#" + input.dataset.table + " table");
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    }
  });
}
