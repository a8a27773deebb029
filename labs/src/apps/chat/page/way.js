// The way of a message: who handed it to whom, and when.

// This machine's time in microseconds since 1970, finer than Date.now().
export const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

const spell = (us) => {
  if (us < -500) return "the clocks differ";
  const ms = Math.max(us, 0) / 1000;
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 2 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`;
};

// The legs of a message that arrived here at `shown`: [from, to, microseconds].
const legs = (message, about, shown) => {
  const here = about.instance, via = message.via, over = about.over === "none" ? "memory" : about.over;
  const points = [
    ["browser", message.typed_us],
    [`instance ${via}`, message.taken_us],
    [over, message.published_us],
    [`instance ${here}`, message.came_us],
    ["this browser", message.came_us && shown],
  ];
  const found = [];
  for (let at = 1; at < points.length; at += 1) {
    const [from, begun] = points[at - 1], [to, ended] = points[at];
    if (begun && ended) found.push([from, to, ended - begun]);
  }
  return found;
};

// An element that tells the way in a line, and every leg when it is opened.
export const tell = (message, about, shown) => {
  const details = document.createElement("details"), summary = document.createElement("summary");
  const found = legs(message, about, shown);
  if (!message.via) {
    summary.textContent = "published by somebody who is no chat";
  } else if (!message.came_us) {
    summary.textContent = `said at instance ${message.via}; from the history`;
  } else {
    const over = about.over === "none" ? "" : ` → ${about.over} → ${about.instance}`;
    const all = message.typed_us ? `, ${spell(shown - message.typed_us)}` : "";
    summary.textContent = `${message.via}${over}${all}`;
  }
  const table = document.createElement("table");
  for (const [from, to, us] of found) {
    const row = table.insertRow();
    row.insertCell().textContent = `${from} → ${to}`;
    row.insertCell().textContent = spell(us);
  }
  if (message.position) {
    const row = table.insertRow();
    row.insertCell().textContent = "place in the history";
    row.insertCell().textContent = message.position;
  }
  details.append(summary, table);
  return details;
};
