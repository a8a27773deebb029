
// ---- Comparing: beside each figure its ratio to that of the lab that was chosen. The ratios and their
// intervals come with the page: `pairs` has two cases, and the ratios of the first by the second.

// The figures of a load, in the order of `pairs`.
function figuresOf(load) {
  return load === "max" ? ["messages/s", "CPU per message"] : ["p50", "p99"];
}

// `[ratio, low, high]` of case `a` by case `b`; 0 where nobody can tell, none where they are of two tables.
function ratiosOf(a, b) {
  const found = cases.pairs.find(([first, second]) => (first === a && second === b) || (first === b && second === a));
  if (!found) return [];
  const turned = ([ratio, low, high]) => [1 / ratio, 1 / high, 1 / low];
  return found.slice(2).map((ratio) => ratio === 0 || found[0] === a ? ratio : turned(ratio));
}

// The cases of a row, with their loads.
function casesOf(row) {
  const loads = row.dataset.load.split("|").slice(1, -1);
  return row.dataset.cases.split(" ").map((number, at) => ({ number: Number(number), load: loads[at] }));
}

// As the words above the tables judge: half a percent is no difference that anybody acts on.
// What promises something else is not judged.
function verdictOf(ratio, name, isJudged) {
  if (ratio === 0) return "cannot tell";
  if (!isJudged) return "";
  const [, low, high] = ratio;
  if (low < 1.005 && high >= 0.995) return "cannot tell";
  return (low >= 1.005) === (name === "messages/s") ? "better" : "worse";
}

// As all ratios of the report are written.
function ratioText(value) {
  if (value < 0.095) return value.toPrecision(2);
  return value.toFixed(value < 9.995 ? 2 : value < 99.5 ? 1 : 0);
}

function addRatio(cell, ratio, name, isJudged) {
  const verdict = verdictOf(ratio, name, isJudged);
  const [own, low, high] = ratio === 0 ? [] : ratio.map(ratioText);
  const shown = ratio === 0 ? "" : `${own}\u202f× [${low} – ${high}] `;
  cell.append(make("span", { className: `versus ${verdict.split(" ")[0]}`, textContent: (shown + verdict).trim() }));
}

function compareRow(row, others, heads) {
  for (const { number, load } of casesOf(row)) {
    for (const other of others) {
      const same = casesOf(other).find((one) => one.load === load && ratiosOf(number, one.number).length > 0);
      if (!same) continue;
      const isJudged = row.dataset.guarantee === other.dataset.guarantee;
      ratiosOf(number, same.number).forEach((ratio, at) => {
        const name = figuresOf(load)[at];
        const cell = cellsOf(row)[heads.get(name)];
        if (cell?.colSpan === 1) addRatio(cell, ratio, name, isJudged);
      });
    }
  }
}

function compare() {
  document.querySelectorAll(".versus").forEach((old) => old.remove());
  const lab = rival?.value ?? "";
  const words = document.querySelector("#compared");
  if (!words) return;
  words.hidden = lab === "";
  words.querySelector("strong").textContent = lab;
  for (const table of lab === "" ? [] : document.querySelectorAll("table.answer")) {
    const heads = new Map(headsOf(table).map(({ th, column }) => [textOf(th), column]));
    const rows = [...table.querySelectorAll("tr[data-lab]")];
    const others = rows.filter((row) => row.dataset.lab === lab);
    rows.filter((row) => !others.includes(row)).forEach((row) => compareRow(row, others, heads));
  }
}
