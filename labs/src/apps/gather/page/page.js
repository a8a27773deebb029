"use strict";
// Whatever came from a worker is text and stays text: nothing here makes HTML of it.

const summary = document.getElementById("summary");
const workers = document.getElementById("workers");
const dropped = document.getElementById("dropped");

function cell(row, tag, text, number) {
  const made = document.createElement(tag);
  made.textContent = text === undefined || text === null ? "–" : String(text);
  if (number) made.className = "number";
  if (tag === "th") made.scope = "row";
  row.append(made);
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
  workers.replaceChildren(...status.workers.map((worker) => {
    const row = document.createElement("tr");
    row.className = worker.answer === "none" ? "missing" : "";
    cell(row, "th", worker.name);
    cell(row, "td", { ok: worker.known ? "yes" : "yes, though not known", none: "none in time", error: `error: ${worker.error}` }[worker.answer]);
    cell(row, "td", worker.pid, true);
    cell(row, "td", worker.jobs_done, true);
    cell(row, "td", worker.queue, true);
    cell(row, "td", worker.uptime_s === undefined ? undefined : `${worker.uptime_s} s`, true);
    return row;
  }));
  dropped.textContent = `Dropped so far: ${status.late} late answers, ${status.garbage} that were none.`;
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
