// The chat's page. It keeps what was said here until it has come back, and asks
// for what it has missed; what comes twice is known by its identifier. Whatever
// people type is put into the page as text, never as HTML.
import { now, tell } from "./way.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 1000;         // messages kept on the page for each room
const AGAIN = 5000;         // ms after which something that has not come back is said again
const AT_ONCE = 10;         // messages said again at once: the server refuses a browser that is too fast
const FIRST_PAUSE = 250;    // ms before the first attempt to connect again
const LONGEST_PAUSE = 5000;

let about = null, socket = null, pause = FIRST_PAUSE, problems = null, away = null;
let joined = null;                     // the room we are in
let focusAfterJoin = false;            // somebody pressed Join, and waits for the message field
let gap = null;                        // since when this page had no instance, and until when
let brokerRuns = true;
const rooms = new Map();               // what we have of each room
const outbox = new Map(JSON.parse(sessionStorage.outbox ?? "[]")); // said, and not back yet

const identifier = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const room = (name) => {
  if (!rooms.has(name)) rooms.set(name, { list: document.createElement("ol"), messages: new Map(), upto: null });
  return rooms.get(name);
};

// ---- the connection -----------------------------------------------------------

const connect = () => {
  socket = new WebSocket(`ws://${location.host}/socket`);
  socket.onopen = () => { pause = FIRST_PAUSE; };
  socket.onmessage = (event) => heard(JSON.parse(event.data));
  socket.onclose = () => {
    socket = null;
    if (joined) gap = { since: gap?.since ?? Date.now() };
    state();
    // Not all at once: a server that comes back has many to serve.
    setTimeout(connect, pause * (0.75 + Math.random() / 2));
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  };
};

const send = (line) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(line));
};

const join = () => {
  const name = sessionStorage.name, wanted = sessionStorage.room;
  if (name && wanted) send({ type: "join", name, room: wanted, after: room(wanted).upto });
};

const heard = (line) => {
  switch (line.type) {
    case "hello": hello(line.about); break;
    case "transport": problems = line.problems; state(); break;
    case "history": away = line.away; state(); break;
    case "joined": entered(line.room); break;
    case "said": show(line.message); break;
    case "known": back(line.id); break;
    case "kept":
    case "page": page(line); break;
    case "missed": missed(line); break;
    case "refused": refused(line); break;
    case "here": people(line.instances); break;
    case "broker": brokerRuns = line.runs; buttons(); break;
  }
};

const state = () => {
  const wrong = problems && Object.entries(problems).map(([who, what]) => `${who}: ${what}`);
  let text = "connected", kind = "good";
  if (!socket || socket.readyState !== WebSocket.OPEN) [text, kind] = ["no connection to the instance; trying again …", "bad"];
  else if (wrong?.length) [text, kind] = [`trouble with the transport, trying again (${wrong.join("; ")})`, "bad"];
  else if (away) [text, kind] = ["connected; the history is away and will catch up", "wait"];
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = kind;
  $("state").title = kind === "bad" ? text : away ?? "";
  buttons();
};

// A button can be pressed only when that does something.
const buttons = () => {
  const here = socket?.readyState === WebSocket.OPEN;
  const had = document.activeElement;
  $("kill").disabled = !here || !brokerRuns;
  $("start").disabled = !here || brokerRuns;
  // Whoever works with the keyboard goes on at the other one.
  if (here && had?.disabled && (had === $("kill") || had === $("start"))) (had === $("kill") ? $("start") : $("kill")).focus();
};

const hello = (told) => {
  about = told;
  if (gap) gap.until = Date.now();
  document.title = `Chat ${about.instance} over ${about.over}`;
  $("instance").textContent = `${about.instance} · over ${about.over}`;
  $("break").hidden = !about.breakable;
  const facts = {
    "Rooms are": about.rooms,
    "Promises": `${about.guarantee}; a slow subscriber: ${about.overload}`,
    "Order": about.order,
    "History": about.history.Err ?? "kept by a durable subscriber",
  };
  $("about").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
    const term = document.createElement("dt"), fact = document.createElement("dd");
    [term.textContent, fact.textContent] = [name, value];
    return [term, fact];
  }));
  join();
};

// ---- what is said ---------------------------------------------------------------

const entered = (name) => {
  const here = room(name), again = joined !== name && here.messages.size > 0;
  joined = name;
  $("log").replaceChildren(here.list);
  $("log").setAttribute("aria-label", `Messages in ${name}`);
  $("text").disabled = $("speak").disabled = false;
  if (focusAfterJoin) $("text").focus();
  focusAfterJoin = false;
  if (gap && about.history.Err) {
    note(`This page had no instance for ${gone()}. What was said meanwhile did not reach it, and nobody kept it.`);
    gap = null;
  }
  if (again && about.history.Err) note("What was said here while you were elsewhere was kept by nobody.");
  for (const said of outbox.values()) said.at = 0;
  resend(due(0));
};

const note = (text) => {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  append(item);
};

const atEnd = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 60;

const append = (item, before = null) => {
  const follow = atEnd();
  const { list } = room(joined);
  list.insertBefore(item, before);
  if (follow) $("log").scrollTop = $("log").scrollHeight;
};

// Behind the last one that stands before it in the history; what has no position is newer.
const placeOf = (position) => {
  const { list } = room(joined);
  let next = null;
  for (let item = list.lastElementChild; item; item = item.previousElementSibling) {
    if (item.dataset.position && Number(item.dataset.position) < position) return next;
    if (item.dataset.position || !item.classList.contains("note")) next = item;
  }
  return next;
};

const show = (message) => {
  if (message.room !== joined) return;
  const shown = now(), here = room(joined), known = message.id && here.messages.get(message.id);
  if (known) {
    known.item.dataset.position = message.position ?? "";
    Object.assign(message, { came_us: known.message.came_us ?? message.came_us });
    if (known.way) {
      const open = known.way.open, way = tell(message, about, known.shown);
      way.open = open;
      known.way.replaceWith(way);
      known.way = way;
    }
    return back(message.id);
  }
  const item = document.createElement("li"), name = document.createElement("bdi");
  const time = document.createElement("time"), text = document.createElement("p");
  const said = new Date((message.typed_us ?? message.taken_us ?? message.came_us ?? shown) / 1000);
  name.className = "name";
  name.textContent = message.name || "somebody";
  time.dateTime = said.toISOString();
  time.textContent = said.toLocaleTimeString();
  text.dir = "auto";
  text.textContent = message.text;
  const way = tell(message, about, shown);
  item.append(name, time, text, way);
  item.dataset.id = message.id ?? "";
  if (message.position) item.dataset.position = message.position;
  if (outbox.has(message.id) || mine.has(message.id)) item.className = "mine";
  append(item, message.position ? placeOf(message.position) : null);
  if (message.id) here.messages.set(message.id, { item, way, shown, message });
  while (here.messages.size > SHOWN) {
    const [oldest, { item: old }] = here.messages.entries().next().value;
    here.messages.delete(oldest);
    old.remove();
  }
  back(message.id);
};

// How long the instance was gone.
const gone = () => `${Math.max(1, Math.round((gap.until - gap.since) / 1000))} s`;

// What this page missed while it had no instance: the history has it.
const caughtUp = (line) => {
  const here = room(joined);
  const missed = line.messages.filter((message) => !here.messages.has(message.id) && !outbox.has(message.id)).length;
  const count = `${line.more ? "more than " : ""}${missed === 0 ? "nothing" : missed === 1 ? "1 message" : `${missed} messages`}`;
  note(`This page had no instance for ${gone()} and missed ${count}${missed ? "; the history has kept it all, and it follows" : ""}.`);
  gap = null;
};

const page = (line) => {
  if (gap && line.type === "page") caughtUp(line);
  if (line.forgotten) note("Older messages are not kept any more.");
  for (const message of line.messages) show(message);
  // Only the server knows up to where nothing is missing.
  if (line.upto !== null) room(joined).upto = line.upto;
};

const missed = ({ count, refill }) =>
  note(refill ? `This browser fell behind by ${count} lines; they follow from the history.`
    : `This browser fell behind, and ${count} lines were dropped: nobody keeps them.`);

const refused = ({ id, why, again }) => {
  if (!again) back(id);
  if (!id) focusAfterJoin = false;
  $("notice").textContent = again ? `${why} It will be tried again.` : why;
  $("notice").hidden = false;
  setTimeout(() => { $("notice").hidden = true; }, 6000);
};

// ---- what we say ----------------------------------------------------------------

const mine = new Set();

const remember = () => { sessionStorage.outbox = JSON.stringify([...outbox]); waiting(); };

const back = (id) => {
  if (!outbox.delete(id)) return;
  mine.add(id);
  remember();
};

const waiting = () => {
  const count = outbox.size;
  $("trip").textContent = count ? `${count} of yours on the way …` : "The way of each message stands below it: open it to see every leg.";
};

// The server knows identifiers it has had: to say it again doubles nothing.
const resend = (ids) => {
  for (const id of ids) {
    const said = outbox.get(id);
    said.at = Date.now();
    send({ type: "say", id, text: said.text, typed_us: said.typed_us });
  }
};

const due = (age) => [...outbox.keys()]
  .filter((id) => outbox.get(id).room === joined && Date.now() - outbox.get(id).at >= age)
  .slice(0, AT_ONCE);

setInterval(() => resend(due(AGAIN)), 1000);

const say = () => {
  const text = $("text").value.trim();
  if (!text || !joined) return;
  const id = identifier();
  outbox.set(id, { room: joined, text, typed_us: now(), at: 0 });
  remember();
  resend([id]);
  $("text").value = "";
};

const people = (instances) => {
  const items = [];
  for (const { instance, people: list, more } of instances) {
    for (const { name, room: where } of list) {
      const item = document.createElement("li"), who = document.createElement("bdi"), place = document.createElement("span");
      who.textContent = name;
      place.className = "where";
      place.textContent = ` ${where}, at ${instance}`;
      item.append(who, place);
      items.push(item);
    }
    if (more) {
      const item = document.createElement("li");
      item.textContent = `and ${more} more at ${instance}`;
      items.push(item);
    }
  }
  $("people").replaceChildren(...items);
};

// ---- the page's forms -------------------------------------------------------------

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.name = $("name").value.trim();
  sessionStorage.room = $("room").value.trim();
  focusAfterJoin = true;
  join();
});
$("say").addEventListener("submit", (event) => { event.preventDefault(); say(); });
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say();
  }
});
$("kill").addEventListener("click", () => send({ type: "kill-broker" }));
$("start").addEventListener("click", () => send({ type: "start-broker" }));
addEventListener("online", () => { pause = FIRST_PAUSE; });

$("name").value = sessionStorage.name ?? "";
$("room").value = sessionStorage.room ?? "lobby";
waiting();
connect();
