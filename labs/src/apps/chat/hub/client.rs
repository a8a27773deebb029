//! A browser, as the hub sees it: a bounded queue, and what it has of the history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use serde_json::json;
use tokio::sync::mpsc;

use super::frame::frame;
use super::pace::Pace;
use super::people::Person;
use crate::apps::chat::room::Room;

/// Lines that may wait for a browser, and bytes of them; one line may always wait.
const LINES: usize = 512;
const BYTES: usize = 1 << 20;

pub(super) struct Client {
    pub(super) name: String,
    pub(super) room: Option<Room>,
    /// It has the room's history up to here, without a gap.
    pub(super) position: Option<u64>,
    /// A page of history is on its way: until it comes there may be a gap.
    pub(super) paging: bool,
    pub(super) pace: Pace,
    /// Lines that did not fit since it fell behind.
    missed: u64,
    behind: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    queue: mpsc::Sender<Utf8Bytes>,
}

/// What the browser's connection is served from.
pub(crate) struct Line {
    queue: mpsc::Receiver<Utf8Bytes>,
    behind: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Line {
    /// The next line; none when the browser is to go. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.recv().await?;
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }

    /// The next line, if there is one.
    pub(crate) fn next_now(&mut self) -> Option<Utf8Bytes> {
        let text = self.queue.try_recv().ok()?;
        self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
        Some(text)
    }

    /// Whether something did not fit into the queue.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }
}

/// A browser that was let in.
pub(crate) struct Entrance {
    pub(crate) number: u64,
    pub(crate) line: Line,
}

pub(super) fn new() -> (Client, Line) {
    let (sender, queue) = mpsc::channel(LINES);
    let (behind, waiting) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let line = Line { queue, behind: Arc::clone(&behind), waiting: Arc::clone(&waiting) };
    let client = Client {
        name: String::new(),
        room: None,
        position: None,
        paging: false,
        pace: Pace::default(),
        missed: 0,
        behind,
        waiting,
        queue: sender,
    };
    (client, line)
}

impl Client {
    pub(super) fn is_in(&self, room: &Room) -> bool {
        self.room.as_ref() == Some(room)
    }

    pub(super) fn person(&self) -> Option<Person> {
        Some(Person { room: self.room.clone()?, name: self.name.clone() })
    }

    /// Whether it keeps up.
    pub(super) fn keeps_up(&self) -> bool {
        self.missed == 0
    }

    /// Queues a line. From the first one that does not fit, none does, until it
    /// has caught up: it would look as if nothing were missing.
    pub(super) fn tell(&mut self, text: &Utf8Bytes) {
        let before = self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        let fits = self.missed == 0 && (before == 0 || before + text.len() <= BYTES);
        if !fits || self.queue.try_send(text.clone()).is_err() {
            self.waiting.fetch_sub(text.len(), Ordering::Relaxed);
            self.missed += 1;
            self.behind.store(true, Ordering::Relaxed);
        }
    }

    /// It has caught up: it is told what it missed, and whether that follows.
    pub(super) fn resume(&mut self, refill: bool) {
        let count = std::mem::take(&mut self.missed);
        self.behind.store(false, Ordering::Relaxed);
        if count > 0 {
            self.tell(&frame("missed", &json!({ "count": count, "refill": refill })));
        }
    }
}
