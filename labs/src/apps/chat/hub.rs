//! The middle of an instance: what comes from the transport and from the history
//! goes to every browser that is in the room, once.
//!
//! Nothing here waits. Each browser has a bounded queue; one that does not keep
//! up is told how much it missed, and gets it from the history where there is
//! one. The history's positions say what a browser has without a gap: only the
//! hub knows, and it tells the browser with each page, so that it can go on from
//! there at any instance.

mod client;
mod frame;
mod history;
mod pace;
mod people;
mod recent;

// More of what a `Hub` does:
mod presence;
mod questions;
mod refusals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use super::Now;
use super::message::{self, Heard, Said, Way};
use super::room::Room;
use client::Client;
pub(super) use client::{Entrance, Line};
use frame::frame;
use history::History;
pub use history::Wanted;
pub(super) use pace::Verdict;
pub(in crate::apps::chat) use people::BEAT;
use people::{BROWSERS, People};
use recent::Recent;

/// Said here and not yet published, at most.
pub const OUTGOING: usize = 1_024;

/// What the page is told when it comes.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// The instance's name.
    pub instance: String,
    /// The word on the command line.
    pub over: String,
    /// The filter that stands for every room.
    pub rooms: String,
    /// What the transport promises.
    pub guarantee: String,
    /// What it does with a subscriber that does not keep up.
    pub overload: String,
    /// Whether two instances show the same order.
    pub order: String,
    /// Whether there is a history, or why not.
    pub history: Result<(), String>,
    /// Whether the page may stop the broker.
    pub breakable: bool,
}

/// What a page may have done to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// kill -9.
    Kill,
    /// Start it again on the same data.
    Start,
}

/// Something said here, on its way to the transport.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where.
    pub room: Room,
    /// What.
    pub said: Said,
}

/// The middle of an instance.
pub struct Hub {
    about: About,
    now: Now,
    outgoing: mpsc::Sender<Outgoing>,
    orders: mpsc::Sender<Order>,
    wants: Notify,
    here: Notify,
    inner: Mutex<Inner>,
}

struct Inner {
    clients: HashMap<u64, Client>,
    /// The number of the next browser.
    next: u64,
    recent: Recent,
    /// Taken and not yet published.
    on_its_way: HashSet<String>,
    people: People,
    /// What is wrong with the transport, by what noticed it.
    problems: BTreeMap<String, String>,
    history: History,
    /// Whether the broker runs, as far as whoever started it knows.
    broker_runs: bool,
    /// What came a second time, and went to nobody.
    doubled: u64,
}

impl Hub {
    /// A hub, and what is said here on its way out.
    pub fn new(about: About, now: Now, orders: mpsc::Sender<Order>) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (outgoing, out) = mpsc::channel(OUTGOING);
        let inner = Inner {
            clients: HashMap::new(),
            next: 0,
            recent: Recent::default(),
            on_its_way: HashSet::new(),
            people: People::default(),
            problems: BTreeMap::from([("transport".to_owned(), "not connected yet".to_owned())]),
            history: History::default(),
            broker_runs: true,
            doubled: 0,
        };
        let (wants, here, inner) = (Notify::new(), Notify::new(), Mutex::new(inner));
        (Arc::new(Self { about, now, outgoing, orders, wants, here, inner }), out)
    }

    /// The instance's name.
    pub fn instance(&self) -> &str {
        &self.about.instance
    }

    /// The time, microseconds since 1970.
    pub fn now(&self) -> u64 {
        (self.now)()
    }

    fn has_history(&self) -> bool {
        self.about.history.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No statement here leaves it half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- from and to the transport ------------------------------------------------

    /// Something came from the transport.
    pub fn heard(&self, room: Room, said: Said) {
        if said.id.is_empty() && self.has_history() {
            // Nothing tells this from the history's copy of it, so it comes as that.
            return self.look();
        }
        let came_us = Some(self.now());
        let mut inner = self.lock();
        if !said.id.is_empty() && !inner.recent.is_new(&said.id) {
            inner.doubled += 1;
            return;
        }
        let heard = Heard { room, position: None, came_us, said };
        let text = frame("said", &json!({ "message": heard }));
        for client in inner.clients.values_mut().filter(|client| client.is_in(&heard.room)) {
            client.tell(&text);
        }
        drop(inner);
        if self.has_history() {
            self.look();
        }
    }

    /// Something may be new in the history.
    pub fn look(&self) {
        self.lock().history.look = true;
        self.wants.notify_one();
    }

    /// What was said here is with the transport now.
    pub fn published(&self, id: &str) {
        self.lock().on_its_way.remove(id);
    }

    /// Whether something is wrong with the transport, as `what` sees it.
    pub fn problem(&self, what: &str, problem: Option<String>) {
        let mut inner = self.lock();
        let first = inner.problems.remove("transport").is_some();
        let news = first || inner.problems.get(what) != problem.as_ref();
        match problem {
            Some(problem) => inner.problems.insert(what.to_owned(), problem),
            None => inner.problems.remove(what),
        };
        if news {
            let text = inner.transport();
            inner.tell_all(&text);
        }
    }

    /// Whether the broker runs: a page may only kill one that does.
    pub fn broker_is(&self, runs: bool) {
        let mut inner = self.lock();
        if inner.broker_runs != runs {
            inner.broker_runs = runs;
            let text = inner.broker();
            inner.tell_all(&text);
        }
    }

    /// Whether both ways of the transport are open.
    pub fn is_connected(&self) -> bool {
        self.lock().problems.is_empty()
    }

    // ---- from and to browsers -----------------------------------------------------

    /// A browser has come.
    pub(super) fn enter(&self) -> Option<Entrance> {
        let mut inner = self.lock();
        if inner.clients.len() >= BROWSERS {
            return None;
        }
        let (mut client, line) = client::new();
        client.tell(&frame("hello", &json!({ "about": self.about })));
        client.tell(&inner.transport());
        client.tell(&inner.broker());
        let number = inner.next;
        inner.next += 1;
        inner.clients.insert(number, client);
        Some(Entrance { number, line })
    }

    /// It goes into a room under a name; it knows the history up to `after`.
    pub(super) fn join(&self, number: u64, name: &str, room: &str, after: Option<u64>) {
        let (name, room) = (message::clean_name(name), Room::new(room));
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(client) = inner.clients.get_mut(&number) else { return };
        let room = match room {
            Ok(room) if !name.is_empty() => room,
            Ok(_) => return client.tell(&frame("refused", &json!({ "why": "A name must not be empty." }))),
            Err(why) => return client.tell(&frame("refused", &json!({ "why": why.to_string() }))),
        };
        client.name = name;
        client.room = Some(room.clone());
        client.position = after;
        client.tell(&frame("joined", &json!({ "room": room })));
        if self.has_history() {
            client.paging = true;
            inner.history.page(number, room, after);
            client.tell(&inner.history.state());
        }
        inner.people.own_changed = true;
        drop(guard);
        self.wants.notify_one();
    }

    /// It says something.
    pub(super) fn say(&self, number: u64, id: String, text: &str, typed_us: Option<u64>) {
        let taken_us = Some(self.now());
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(client) = inner.clients.get_mut(&number) else { return };
        let id_or_none = Some(&id).filter(|id| message::is_id(id));
        let refuse = |client: &mut Client, why: &str, again: bool| {
            client.tell(&frame("refused", &json!({ "id": id_or_none, "why": why, "again": again })));
        };
        let Some(room) = client.room.clone() else { return refuse(client, "Join a room first.", false) };
        if !message::is_id(&id) {
            return refuse(client, "That is not an identifier.", false);
        }
        let Some(text) = message::clean_text(text) else {
            let most = message::LONGEST_TEXT;
            return refuse(client, &format!("A message has 1 to {most} characters."), false);
        };
        if inner.recent.knows(&id) {
            return client.tell(&frame("known", &json!({ "id": id })));
        }
        if inner.on_its_way.contains(&id) {
            return;
        }
        let typed_us = typed_us.filter(|typed_us| message::is_time(*typed_us));
        let way = Way { via: self.about.instance.clone(), typed_us, taken_us, published_us: None };
        let said = Said { id: id.clone(), name: client.name.clone(), text, way };
        match self.outgoing.try_send(Outgoing { room, said }) {
            Ok(()) => {
                inner.on_its_way.insert(id);
            }
            Err(_) => refuse(client, "Too much waits for the transport already.", true),
        }
    }

    /// It wants something done to the broker.
    pub(super) fn order(&self, number: u64, order: Order) {
        let done = self.about.breakable && self.orders.try_send(order).is_ok();
        if !done && let Some(client) = self.lock().clients.get_mut(&number) {
            client.tell(&frame(
                "refused",
                &json!({ "why": "The broker cannot be stopped from here: see `lab chat --break`." }),
            ));
        }
    }

    /// It has taken all that waited for it, after some of it did not fit.
    pub(super) fn caught_up(&self, number: u64) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(client) = inner.clients.get_mut(&number) else { return };
        let refill = self.has_history() && client.room.is_some();
        client.resume(refill);
        if refill && let Some(room) = client.room.clone() {
            client.paging = true;
            inner.history.page(number, room, client.position);
            self.wants.notify_one();
        }
    }

    /// It has gone.
    pub(super) fn leave(&self, number: u64) {
        let mut inner = self.lock();
        inner.clients.remove(&number);
        inner.history.page_no_more(number);
        inner.people.own_changed = true;
    }

    /// How many browsers are here.
    pub fn browsers(&self) -> usize {
        self.lock().clients.len()
    }

    /// Twice a second: whoever has not been heard of has gone, and everybody is
    /// told who is there if that has changed; other instances, too. So however fast
    /// browsers come and go, no more than this is published.
    pub fn tick(&self) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        for client in inner.clients.values_mut() {
            client.pace.tick();
        }
        let own_changed = std::mem::take(&mut inner.people.own_changed);
        if own_changed {
            self.here.notify_one();
        }
        if inner.people.expire() | std::mem::take(&mut inner.people.changed) | own_changed {
            let own = inner.clients.values().filter_map(Client::person);
            let text = inner.people.everybody(&self.about.instance, own);
            inner.tell_all(&text);
        }
    }
}

impl Inner {
    fn tell_all(&mut self, text: &Utf8Bytes) {
        for client in self.clients.values_mut() {
            client.tell(text);
        }
    }

    fn transport(&self) -> Utf8Bytes {
        frame("transport", &json!({ "problems": self.problems }))
    }

    fn broker(&self) -> Utf8Bytes {
        frame("broker", &json!({ "runs": self.broker_runs }))
    }
}
