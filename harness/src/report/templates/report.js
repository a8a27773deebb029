"use strict";
// Sorting and enlarging. Everything can be read without this script.

// The numbers of this report: thin spaces between thousands and before a unit.
const NUMBER = /^[<≥]?\u202f?(\d{1,3}(?:\u202f\d{3})+|\d+)(\.\d+)?(?:\u202f?(ns|µs|ms|s|B|KiB|MiB|GiB|TiB|k|M|G|%|×)(?![a-z]))?/;
const FACTORS = {
  ns: 1, "µs": 1e3, ms: 1e6, s: 1e9,
  B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4,
  k: 1e3, M: 1e6, G: 1e9,
};

function numberIn(text) {
  const found = NUMBER.exec(text);
  return found && Number(found[1].replaceAll("\u202f", "") + (found[2] ?? "")) * (FACTORS[found[3]] ?? 1);
}

// The column that each header stands over: headers span rows and columns.
function columnsOf(head) {
  const taken = [...head.rows].map(() => []);
  const columns = new Map();
  [...head.rows].forEach((row, y) => {
    let x = 0;
    for (const th of row.cells) {
      while (taken[y][x]) x += 1;
      columns.set(th, x);
      for (let down = 0; down < th.rowSpan; down += 1)
        for (let right = 0; right < th.colSpan; right += 1) taken[y + down][x + right] = true;
    }
  });
  return columns;
}

// The text in a column; none where a cell says something else over several.
function textAt(row, column) {
  let x = 0;
  for (const cell of row.cells) {
    if (column < x + cell.colSpan) return cell.colSpan > 1 ? "" : cell.textContent.trim();
    x += cell.colSpan;
  }
  return "";
}

function sort(table, original, column, direction, isText) {
  const value = (row) => isText ? textAt(row, column) || null : numberIn(textAt(row, column));
  const compare = isText ? (a, b) => a.localeCompare(b, "en", { numeric: true }) : (a, b) => a - b;
  for (const [body, rows] of original) {
    const isFixed = (row) => row.matches(".group, .together");
    const moving = rows.filter((row) => !isFixed(row)).map((row) => [row, value(row)]);
    if (direction !== 0) {
      // What has no value stands last, whichever way it is sorted.
      moving.sort(([, a], [, b]) => a === null || b === null ? (a === null) - (b === null) : direction * compare(a, b));
    }
    const [first, last] = [".group", ".together"].map((kind) => rows.filter((row) => row.matches(kind)));
    body.append(...first, ...moving.map(([row]) => row), ...last);
  }
}

const NAMES = { 1: "ascending", "-1": "descending" };

function makeSortable(table, status) {
  const original = [...table.tBodies].map((body) => [body, [...body.rows]]);
  if (original.every(([, rows]) => rows.filter((row) => !row.matches(".group, .together")).length < 2)) return;
  const columns = columnsOf(table.tHead);
  for (const th of table.tHead.querySelectorAll("th:not([colspan])")) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort within each group";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: -1, descending: 0 }[th.getAttribute("aria-sort")] ?? 1;
      table.tHead.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== 0) th.setAttribute("aria-sort", NAMES[next]);
      sort(table, original, columns.get(th), next, th.classList.contains("text"));
      const name = button.textContent.trim();
      status.textContent = next === 0 ? "In the order of the report" : `Sorted by ${name}, ${NAMES[next]}, within each group`;
    });
  }
}

function makeLarger(figure, dialog) {
  const plot = figure.querySelector(".plot");
  const caption = figure.querySelector("figcaption");
  const about = caption.textContent;
  const enlarge = () => {
    dialog.querySelector(".plot").replaceChildren(plot.querySelector("svg").cloneNode(true));
    dialog.querySelector("p").textContent = about;
    dialog.showModal();
  };
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Enlarge";
  button.setAttribute("aria-label", `Enlarge: ${caption.querySelector("strong").textContent}`);
  button.addEventListener("click", enlarge);
  caption.append(" ", button);
  plot.addEventListener("click", enlarge);
  plot.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    enlarge();
  });
}

document.documentElement.classList.add("scripted");
const status = document.querySelector("#status");
document.querySelectorAll("table").forEach((table) => makeSortable(table, status));

const dialog = document.querySelector("dialog");
document.querySelectorAll("figure").forEach((figure) => makeLarger(figure, dialog));
dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

addEventListener("beforeprint", () => dialog.close());
