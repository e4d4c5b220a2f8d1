// Sorting and downloads; everything else of the page works without.
"use strict";

// What a cell is sorted by: the number it begins with, or its text.
function sortKey(row, column) {
  const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
  const number = /^[+-]?[\d,]*\.?\d+/.exec(text);
  return number ? Number(number[0].replaceAll(",", "")) : text;
}

// Puts children of `parent` in the order of their keys; direction 0 is the order they came in. What
// is empty, or a word among numbers, goes last in either direction.
function arrange(parent, children, keyOf, direction) {
  const last = children.length ? children[children.length - 1].nextSibling : null;
  const keyed = children.map((child) => ({ child, key: keyOf(child), came: Number(child.dataset.came) }));
  const numbers = keyed.some(({ key }) => typeof key === "number");
  const absent = ({ key }) => (numbers ? typeof key !== "number" : key === "");
  const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b);
  keyed.sort((a, b) => {
    const order = absent(a) - absent(b) || (absent(a) ? 0 : direction * compare(a.key, b.key));
    return (direction && order) || a.came - b.came;
  });
  keyed.forEach(({ child }) => parent.insertBefore(child, last));
}

function sortTable(table, column, direction) {
  const bodies = [...table.tBodies];
  if (table.dataset.sorts === "groups") {
    arrange(table, bodies, (body) => sortKey(body.rows[0], column), direction);
    return;
  }
  bodies.forEach((body) => {
    arrange(body, [...body.rows].slice(1), (row) => sortKey(row, column), direction);
  });
}

function makeSortable(table) {
  [...table.tBodies].forEach((body, index) => {
    body.dataset.came = index;
    [...body.rows].forEach((row, place) => { row.dataset.came = place; });
  });
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[header.ariaSort] || "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") header.ariaSort = next;
      sortTable(table, column, { ascending: 1, descending: -1, none: 0 }[next]);
    });
  });
}

function download(button) {
  const held = document.getElementById(button.dataset.from).textContent;
  // The CSV is kept as a JSON text, so that nothing in it can end its element.
  const text = button.dataset.from === "csv" ? JSON.parse(held) : held;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: button.dataset.type }));
  link.download = button.dataset.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

document.querySelectorAll("table[data-sorts]").forEach(makeSortable);
document.querySelectorAll(".downloads").forEach((place) => { place.hidden = false; });
document.querySelectorAll(".scriptless").forEach((place) => { place.hidden = true; });
document.querySelectorAll(".downloads button").forEach((button) => {
  button.addEventListener("click", () => download(button));
});
