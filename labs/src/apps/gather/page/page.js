"use strict";
// Whatever came from a worker is text and stays text: nothing here makes HTML of it.

const summary = document.getElementById("summary");
const workers = document.getElementById("workers");
const dropped = document.getElementById("dropped");

const columns = [...document.querySelectorAll("thead th")].map((head) => head.textContent);

function cell(row, tag, text, number) {
  const made = document.createElement(tag);
  made.textContent = text === undefined || text === null ? "–" : String(text);
  made.dataset.label = columns[row.children.length];
  if (number) made.className = "number";
  if (tag === "th") made.scope = "row";
  // A narrow page changes how a table is drawn; it stays one for screen readers.
  made.setAttribute("role", tag === "th" ? "rowheader" : "cell");
  row.append(made);
}

function row(state, name, answer, numbers) {
  const made = document.createElement("tr");
  made.className = state;
  made.setAttribute("role", "row");
  cell(made, "th", name);
  cell(made, "td", answer);
  for (const number of numbers) cell(made, "td", number, true);
  return made;
}

// Said aloud by screen readers, and so only when it has changed.
function say(text, state) {
  if (summary.textContent !== text) summary.textContent = text;
  summary.className = state;
}

function show(status) {
  if (status.known === undefined) return;
  const missing = status.missing.length ? ` No answer from ${status.missing.join(", ")}.` : "";
  const who = status.known === 0 ? "no worker is known." : `${status.answered} of ${status.known} known workers answered within ${status.deadline_ms} ms.`;
  say(`${status.complete ? "Complete" : "Incomplete"}: ${who}${missing}`, status.complete ? "complete" : "incomplete");
  const known = status.workers.map((worker) => {
    const answer = { ok: worker.known ? "yes" : "yes, though not known", none: "none in time", error: `error: ${worker.error}` }[worker.answer];
    const up = worker.uptime_s === undefined ? undefined : `${worker.uptime_s} s`;
    return row(worker.answer === "none" ? "missing" : "", worker.name, answer, [worker.pid, worker.jobs_done, worker.queue, up]);
  });
  // They are not asked any more; a worker that has died would vanish without a word.
  const gone = status.gone.map(({ name, last_seen_s: age }) => row("gone", name, `last seen ${age} s ago`, Array(4).fill()));
  workers.replaceChildren(...known, ...gone);
  dropped.textContent = `Dropped so far: ${status.late} late answers, ${status.garbage} messages that are not answers.`;
}

async function look() {
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch {
    say("lab status does not answer any more; this is what it said last.", "lost");
  }
  setTimeout(look, 1000);
}

look();
