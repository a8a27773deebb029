"use strict";
// Filtering, sorting, comparing, copying, enlarging; the address keeps the view. All can be read
// without this script.

const root = document.documentElement;
const status = document.querySelector("#status");
const dialog = document.querySelector("dialog");
const form = document.querySelector("#filters");
const selects = form ? [...form.querySelectorAll("select")] : [];
const rival = selects.find(({ name }) => name === "compare");
const filters = selects.filter((select) => select !== rival);
const cases = JSON.parse(document.querySelector("#cases")?.textContent || "null");

const make = (tag, values) => Object.assign(document.createElement(tag), values);

// ---- Tables

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

// What the style sheet hides when a load is chosen.
const isAway = (cell) => cell.matches(".no-max .max, .no-rate .rate");

// The cell of each column; none where the one before reaches over it.
const cellsOf = (row) => [...row.cells].flatMap((cell) => [cell, ...Array(cell.colSpan - 1).fill(null)]);

// The text in a column; none where a cell says something else over several.
function textAt(row, column) {
  const cell = cellsOf(row)[column];
  return cell?.colSpan === 1 ? cell.textContent.trim() : "";
}

// The text as it is seen, with a space around what has a line or a frame of its own.
// Thin spaces stay: \s would take them too.
function textOf(cell) {
  const isApart = (node) => node.matches?.(".flag, .promise, .range, .baseline, .share, .versus, br");
  const before = (node) => node.matches(".words .range") ? "; " : " ";
  const text = (node) => isApart(node) ? `${before(node)}${node.textContent} ` : node.textContent;
  return [...cell.childNodes].map(text).join("").replace(/[ \t\r\n]+/g, " ").trim();
}

// The headers over one column each, from left to right; the name says what stands over two of them:
// `At maximum load: messages/s`.
function headsOf(table) {
  const columns = [...columnsOf(table.tHead)];
  const isWide = ([th]) => th.hasAttribute("colspan");
  const own = columns.filter((head) => !isWide(head)).sort(([, a], [, b]) => a - b);
  return own.map(([th, column]) => {
    const isOver = ([wide, from]) => from <= column && column < from + wide.colSpan;
    const over = columns.find((head) => isWide(head) && isOver(head));
    return { th, column, name: over ? `${textOf(over[0])}: ${textOf(th)}` : textOf(th) };
  });
}

const shownRows = (table) => [...table.querySelectorAll("tr[data-pattern]:not([hidden])")];

// ---- Sorting

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

const isMoving = (row) => !row.matches(".group, .together");

function sort(original, column, direction, isText) {
  const value = (row) => isText ? textAt(row, column) || null : numberIn(textAt(row, column));
  const compare = isText ? (a, b) => a.localeCompare(b, "en", { numeric: true }) : (a, b) => a - b;
  for (const [body, rows] of original) {
    const moving = rows.filter(isMoving).map((row) => [row, value(row)]);
    if (direction !== 0) {
      // What has no value stands last, whichever way it is sorted.
      const isNone = (a, b) => a === null || b === null;
      moving.sort(([, a], [, b]) => isNone(a, b) ? (a === null) - (b === null) : direction * compare(a, b));
    }
    const [first, last] = [".group", ".together"].map((kind) => rows.filter((row) => row.matches(kind)));
    body.append(...first, ...moving.map(([row]) => row), ...last);
  }
}

const NAMES = { 1: "ascending", "-1": "descending" };

// Makes headers buttons; returns how the address names, says and sets this table's sorting.
function makeSortable(table, number) {
  const original = [...table.tBodies].map((body) => [body, [...body.rows]]);
  if (original.every(([, rows]) => rows.filter(isMoving).length < 2)) return [];
  const heads = headsOf(table);
  // Under two loads there may be two columns of one name.
  const isAlone = (text) => heads.filter(({ th }) => textOf(th) === text).length === 1;
  const names = new Map(heads.map((head) => [isAlone(textOf(head.th)) ? textOf(head.th) : head.name, head]));
  let sorting = "";
  const sortBy = (name, direction) => {
    const { th, column } = names.get(name);
    heads.forEach((head) => head.th.removeAttribute("aria-sort"));
    if (direction !== 0) th.setAttribute("aria-sort", NAMES[direction]);
    sorting = direction === 0 ? "" : `${name}.${NAMES[direction]}`;
    sort(original, column, direction, th.classList.contains("text"));
  };
  for (const [name, { th }] of names) {
    const button = make("button", { type: "button", title: "Sort within each group" });
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: -1, descending: 0 }[th.getAttribute("aria-sort")] ?? 1;
      sortBy(name, next);
      status.textContent = next === 0 ? "In the order of the report"
        : `Sorted by ${textOf(th)}, ${NAMES[next]}, within each group`;
      keepView();
    });
  }
  const restore = (text) => {
    const [, name, word] = /^(.*)\.(ascending|descending)$/.exec(text) ?? [];
    if (names.has(name)) sortBy(name, word === NAMES[1] ? 1 : -1);
    else if (sorting !== "") sortBy([...names.keys()][0], 0);
  };
  return [{ key: `sort.${table.id || `table-${number}`}`, sorting: () => sorting, restore }];
}

// ---- Filtering

const chosen = (name) => filters.find((select) => select.name === name)?.value ?? "";

function fits(element, name, value) {
  const own = element.getAttribute(`data-${name}`);
  // What a row does not say cannot hide it: the answer in words knows no transport.
  if (value === "" || own === null) return true;
  return name === "load" ? own.includes(`|${value}|`) : own === value;
}

function filterTable(table) {
  for (const row of table.querySelectorAll("tr[data-pattern]"))
    row.hidden = !filters.every(({ name, value }) => fits(row, name, value));
  for (const body of table.tBodies)
    body.hidden = [...body.rows].every((row) => row.hidden || row.matches(".group"));
  const frame = table.closest(".scroll");
  frame.hidden = shownRows(table).length === 0;
  frame.nextElementSibling.hidden = frame.hidden;
  // A group's name must not be wider than the columns that are left.
  const width = headsOf(table).filter(({ th }) => !isAway(th)).length;
  table.querySelectorAll("tr.group th").forEach((th) => { th.colSpan = width; });
}

function filter() {
  const load = chosen("load");
  root.classList.toggle("no-rate", load === "max");
  root.classList.toggle("no-max", load !== "" && load !== "max");
  tables.forEach(filterTable);
  for (const section of document.querySelectorAll("section[data-pattern]")) {
    section.hidden = !fits(section, "pattern", chosen("pattern"));
    const links = document.querySelectorAll(`nav a[href="#${section.id}"]`);
    links.forEach((link) => { link.hidden = section.hidden; });
  }
  // The words are about all labs of a pattern and guarantee.
  const isPart = ["transport", "broker", "overload", "size"].some((name) => chosen(name) !== "");
  document.querySelectorAll('#answer, nav a[href="#answer"]').forEach((words) => { words.hidden = isPart; });
  // So are the pictures of everything, and the baselines of all transports.
  const isAny = filters.some(({ value }) => value !== "");
  document.querySelectorAll("#results > .figures, #baselines").forEach((part) => { part.hidden = isAny; });
  for (const section of document.querySelectorAll("#limits, #backlogs"))
    section.hidden = section.querySelector("tr[data-pattern]:not([hidden])") === null;
  // Plots and trials are of all labs of a pattern, and a lab has ratios to those of its pattern alone.
  root.classList.toggle("filtered", filters.some(({ name, value }) => name !== "pattern" && value !== ""));
  root.classList.toggle("apart", [...document.querySelectorAll(".versus")].every((ratio) => ratio.closest("tr").hidden));
  const count = (rows) => document.querySelectorAll(`table.answer tr[data-pattern]${rows}`).length;
  const [all, shown] = [count(""), count(":not([hidden])")];
  if (nothing) nothing.hidden = shown > 0;
  // A page that opens with all of its rows says nothing.
  if (shown < all || written !== null)
    status.textContent = `${shown === all ? "All" : `${shown} of`} ${all} rows are shown`;
}

// ---- The view in the address: `#anchor?load=max&sort.results-queue=p50.ascending&open=pattern-3.1`

// Known names are looked up in the address, never the other way round, so it can hold anything.
function anchorIn(hash) {
  const anchor = hash.slice(1).split("?")[0];
  return document.getElementById(anchor) ? anchor : "";
}

let written = null;

function keepView(anchor = anchorIn(location.hash)) {
  const view = new URLSearchParams();
  for (const { name, value } of selects) if (value !== "") view.set(name, value);
  for (const { key, sorting } of sortings) if (sorting() !== "") view.set(key, sorting());
  for (const [name, details] of evidence) if (details.open) view.append("open", name);
  const hash = `${anchor}${String(view) && `?${view}`}`;
  try {
    history.replaceState({ isKept: true }, "", location.href.split("#")[0] + (hash && `#${hash}`));
  } catch {
    // A browser may refuse many changes in a short time. The page works without its address.
  }
  written = location.hash;
}

function restoreView() {
  const view = new URLSearchParams(location.hash.replace(/^[^?]*\??/, ""));
  for (const select of selects) {
    const value = view.get(select.name);
    select.value = [...select.options].some((option) => option.value === value) ? value : "";
  }
  compare();
  sortings.forEach(({ key, restore }) => restore(view.get(key)));
  const open = new Set(view.getAll("open"));
  evidence.forEach(([name, details]) => { details.open = open.has(name); });
  filter();
  const anchor = anchorIn(location.hash);
  // The browser finds an anchor only where nothing follows it. When it goes back or reloads, it
  // knows where the page stood.
  if (anchor && !history.state?.isKept) location.replace(`#${anchor}`);
  keepView(anchor);
}

function followLink(event) {
  const link = event.target.closest('a[href^="#"]');
  const anchor = link && anchorIn(link.hash);
  // With one of these keys, the link is opened elsewhere.
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (anchor === anchorIn(location.hash)) location.replace(`#${anchor}`);
  else location.hash = anchor;
  keepView(anchor);
}

// Evidence has no name of its own: it is counted in its section.
function nameOf(details) {
  const section = details.closest("section");
  return `${section.id}.${[...section.querySelectorAll("details")].indexOf(details) + 1}`;
}

// ---- Copying

function markdown(table) {
  const heads = headsOf(table).filter(({ th }) => !isAway(th));
  const rules = heads.map(({ th }) => th.matches(".text") ? "---" : "---:");
  const lines = [heads.map(({ name }) => name), rules];
  for (const row of shownRows(table)) {
    // A cell over several columns is written into the first of them.
    const cells = cellsOf(row);
    lines.push(heads.map(({ column }) => cells[column] ? textOf(cells[column]) : ""));
    const group = row.parentElement.querySelector(".group");
    if (group) lines.at(-1).unshift(textOf(group));
  }
  if (table.matches(".answer")) {
    const isMixed = table.matches("#results-limits, #results-backlogs");
    lines[0].unshift(isMixed ? "pattern, guarantee" : "guarantee");
    rules.unshift("---");
  }
  const escaped = (text) => text.replace(/[\\|`*_]/g, "\\$&").replaceAll("<", "&lt;");
  return lines.map((line) => `| ${line.map(escaped).join(" | ")} |\n`).join("");
}

function csv(table) {
  const load = chosen("load");
  const numbers = shownRows(table).flatMap((row) => {
    const own = row.dataset.cases.split(" ");
    const loads = row.dataset.load.split("|").slice(1, -1);
    return load === "" || own.length !== loads.length ? own : own.filter((_, at) => loads[at] === load);
  });
  const lines = numbers.map((number) => cases.rows[number]).filter((line) => line !== undefined);
  return [cases.head, ...lines].map((line) => `${line}\n`).join("");
}

// Where a page may not use the clipboard, it may still copy what is selected.
function copySelected(area, button) {
  area.className = "unseen";
  button.after(area);
  area.focus({ preventScroll: true });
  area.select();
  const isCopied = document.execCommand("copy");
  area.className = "";
  area.remove();
  button.focus({ preventScroll: true });
  return isCopied;
}

async function copy(kind, text, label, button) {
  const area = make("textarea", { readOnly: true, value: text, ariaLabel: `${label}, as ${kind}` });
  const isCopied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  if (isCopied || copySelected(area, button)) {
    status.textContent = `Copied as ${kind}: ${label}`;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = `Copy as ${kind}`; }, 2000);
  } else {
    showLarge("Text to copy", area, "The browser does not let this page copy: copy the selected text.");
    area.select();
  }
}

function addCopyBar(table) {
  const frame = table.closest(".scroll");
  const label = frame.getAttribute("aria-label");
  const bar = make("div", { className: "copy", role: "group", ariaLabel: `Copy: ${label}` });
  const hasCases = cases && table.querySelector("tr[data-cases]:not([data-cases=''])");
  for (const [kind, write] of hasCases ? [["Markdown", markdown], ["CSV", csv]] : [["Markdown", markdown]]) {
    const button = make("button", { type: "button", textContent: `Copy as ${kind}` });
    button.addEventListener("click", () => copy(kind, write(table), label, button));
    bar.append(button);
  }
  frame.after(bar);
}

// ---- Enlarging

function showLarge(label, content, words) {
  dialog.ariaLabel = label;
  dialog.querySelector(".plot").replaceChildren(content);
  dialog.querySelector("p").textContent = words;
  dialog.showModal();
}

function makeLarger(figure) {
  const plot = figure.querySelector(".plot");
  const caption = figure.querySelector("figcaption");
  const about = caption.textContent;
  const enlarge = () => showLarge("Enlarged plot", plot.querySelector("svg").cloneNode(true), about);
  const ariaLabel = `Enlarge: ${caption.querySelector("strong").textContent}`;
  const button = make("button", { type: "button", textContent: "Enlarge", ariaLabel });
  button.addEventListener("click", enlarge);
  caption.append(" ", button);
  plot.addEventListener("click", enlarge);
  plot.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    enlarge();
  });
}

// ---- What something means: one box for all, because a table's frame would cut off one inside it

function makeTips() {
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  let owner = null;
  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  };
  const place = () => {
    const at = owner.getBoundingClientRect();
    tip.hidden = at.bottom < 0 || at.top > innerHeight;
    const isBelow = at.bottom + tip.offsetHeight <= innerHeight;
    tip.style.left = `${Math.max(8, Math.min(at.left, root.clientWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${isBelow ? at.bottom : Math.max(0, at.top - tip.offsetHeight)}px`;
  };
  const show = (event) => {
    const found = event.target.closest(".tip");
    if (!found || found === owner || (event.type === "focusin" && !found.matches(":focus-visible"))) return;
    hide();
    owner = found;
    tip.textContent = found.dataset.tip;
    found.setAttribute("aria-describedby", tip.id);
    place();
  };
  // The mouse may go on to the box, to read or to select.
  const isOver = (element) => owner !== null && (owner.contains(element) || tip.contains(element));
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("mouseout", (event) => {
    if (isOver(event.target) && !isOver(event.relatedTarget)) hide();
  });
  document.addEventListener("focusout", (event) => { if (event.target === owner) hide(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  // The keyboard's focus itself scrolls: the box then follows. Capture, because frames scroll too.
  addEventListener("scroll", () => { if (owner?.matches(":focus-visible")) place(); else hide(); }, true);
  addEventListener("resize", hide);
}

// ---- Start

root.classList.add("scripted");

const tables = [...document.querySelectorAll("table.answer, #words")];
const sortings = [...document.querySelectorAll("table")].flatMap(makeSortable);
const evidence = [...document.querySelectorAll("section details")].map((one) => [nameOf(one), one]);
tables.forEach(addCopyBar);
document.querySelectorAll("figure").forEach(makeLarger);
makeTips();

dialog.querySelector("button").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
addEventListener("beforeprint", () => dialog.close());

const nothing = form && make("p", { id: "nothing", textContent: "No row fits; choose “all” somewhere." });
if (form) {
  // A browser that fills in the form after a reload would not know the address.
  form.autocomplete = "off";
  form.after(nothing);
  const changed = () => { compare(); filter(); keepView(); };
  form.addEventListener("change", changed);
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    selects.forEach((select) => { select.value = ""; });
    changed();
  });
}

document.addEventListener("click", followLink);
document.addEventListener("toggle", () => keepView(), true);
addEventListener("hashchange", () => { if (location.hash !== written) restoreView(); });
restoreView();
