//! The history's store: what was said, in the order in which it came to be kept,
//! each under a position; in one file, with redb.
//!
//! A commit is on disk before it is acknowledged to the transport. What comes
//! again, because the acknowledgement was lost, is known by its identifier and
//! keeps its position. The oldest go when there are too many.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::message::Heard;
use super::room::Room;

/// Everything, by position.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// What is where in each room.
const ROOMS: TableDefinition<(&str, u64), ()> = TableDefinition::new("rooms");
/// The position of each identifier.
const IDS: TableDefinition<&str, u64> = TableDefinition::new("ids");
/// Messages kept, of all rooms together.
pub const KEPT: u64 = 100_000;
/// Messages in one page, at most.
pub const PAGE: usize = 200;
/// And bytes of them, so that a page is one message over every transport, and a small part of
/// what may wait for a browser. One message always fits.
pub const PAGE_BYTES: usize = 256 << 10;
/// What a message has in a page beyond what is stored of it: its position.
const BESIDE: usize = 32;

/// The store. It is in use by one process at a time.
pub struct Store {
    file: Database,
    kept: u64,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What was said here; in every room if there is none.
    pub room: Option<Room>,
    /// What came behind this position, oldest first; the newest of a room if
    /// there is none.
    pub after: Option<u64>,
    /// So many at most; never more than [`PAGE`], nor than [`PAGE_BYTES`].
    pub limit: usize,
}

/// A page of history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The last position there is; 0 for an empty history.
    pub end: u64,
    /// The messages, oldest first.
    pub messages: Vec<Heard>,
    /// Whether more follow behind the last of them.
    pub more: bool,
    /// Whether some of what was asked for is not kept any more.
    pub forgotten: bool,
}

impl Store {
    /// Opens the store, or makes one.
    pub fn open(path: &Path) -> Result<Self> {
        Self::keeping(path, KEPT)
    }

    fn keeping(path: &Path, kept: u64) -> Result<Self> {
        let about = || format!("cannot open the history in {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(about)?;
        }
        let file = Database::create(path).with_context(about)?;
        let write = file.begin_write().with_context(about)?;
        write.open_table(LOG).with_context(about)?;
        write.open_table(ROOMS).with_context(about)?;
        write.open_table(IDS).with_context(about)?;
        write.commit().with_context(about)?;
        Ok(Self { file, kept })
    }

    /// Keeps these, in this order; on disk when it returns. How many were new.
    pub fn keep(&self, messages: Vec<Heard>) -> Result<usize> {
        let write = self.file.begin_write()?;
        let new = add(&write, messages)?;
        self.trim(&write)?;
        write.commit().context("the history cannot be written; is the disk full?")?;
        Ok(new)
    }

    fn trim(&self, write: &WriteTransaction) -> Result<()> {
        let (mut log, mut rooms, mut ids) =
            (write.open_table(LOG)?, write.open_table(ROOMS)?, write.open_table(IDS)?);
        let end = log.last()?.map_or(0, |(position, _)| position.value());
        loop {
            let Some((position, bytes)) =
                log.first()?.map(|(at, bytes)| (at.value(), bytes.value().to_vec()))
            else {
                break;
            };
            if position + self.kept > end {
                break;
            }
            log.remove(position)?;
            let old: Heard = serde_json::from_slice(&bytes)?;
            rooms.remove((old.room.as_str(), position))?;
            if !old.said.id.is_empty() {
                ids.remove(old.said.id.as_str())?;
            }
        }
        Ok(())
    }

    /// Answers a question.
    pub fn page(&self, question: &Question) -> Result<Page> {
        let read = self.file.begin_read()?;
        let (log, rooms) = (read.open_table(LOG)?, read.open_table(ROOMS)?);
        let end = log.last()?.map_or(0, |(position, _)| position.value());
        let oldest = log.first()?.map_or(1, |(position, _)| position.value());
        let limit = question.limit.min(PAGE);
        let mut positions = Vec::with_capacity(limit + 1);
        match (&question.room, question.after) {
            (Some(room), Some(after)) => {
                let room = room.as_str();
                for entry in rooms.range((room, after.saturating_add(1))..=(room, u64::MAX))?.take(limit + 1)
                {
                    positions.push(entry?.0.value().1);
                }
            }
            (Some(room), None) => {
                let room = room.as_str();
                for entry in rooms.range((room, 0)..=(room, u64::MAX))?.rev().take(limit) {
                    positions.push(entry?.0.value().1);
                }
                positions.reverse();
            }
            (None, Some(after)) => {
                for entry in log.range(after.saturating_add(1)..)?.take(limit + 1) {
                    positions.push(entry?.0.value());
                }
            }
            (None, None) => {}
        }
        let mut more = positions.len() > limit;
        positions.truncate(limit);
        // The newest of a room are read backwards: what does not fit are the oldest of them.
        let newest = question.after.is_none();
        if newest {
            positions.reverse();
        }
        let (mut messages, mut bytes) = (Vec::with_capacity(positions.len()), 0);
        for position in positions {
            let stored = log.get(position)?.context("a message of a room is not in the log")?;
            bytes += stored.value().len() + BESIDE;
            if bytes > PAGE_BYTES && !messages.is_empty() {
                more |= !newest;
                break;
            }
            let mut heard: Heard = serde_json::from_slice(stored.value())?;
            heard.position = Some(position);
            messages.push(heard);
        }
        if newest {
            messages.reverse();
        }
        let forgotten = question.after.is_some_and(|after| after.saturating_add(1) < oldest);
        Ok(Page { end, messages, more, forgotten })
    }
}

fn add(write: &WriteTransaction, messages: Vec<Heard>) -> Result<usize> {
    let (mut log, mut rooms, mut ids) =
        (write.open_table(LOG)?, write.open_table(ROOMS)?, write.open_table(IDS)?);
    let (mut next, mut new) = (log.last()?.map_or(0, |(position, _)| position.value()) + 1, 0);
    for mut heard in messages {
        if heard.said.id.is_empty() {
            // What a stranger published has none, and gets one that cannot be a browser's.
            heard.said.id = format!("kept-{next}");
        } else if ids.get(heard.said.id.as_str())?.is_some() {
            continue;
        }
        log.insert(next, serde_json::to_vec(&heard)?.as_slice())?;
        rooms.insert((heard.room.as_str(), next), ())?;
        ids.insert(heard.said.id.as_str(), next)?;
        next += 1;
        new += 1;
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::chat::message::{Said, Way};

    fn said(room: &str, id: &str) -> Heard {
        let said =
            Said { id: id.to_owned(), name: String::new(), text: format!("text {id}"), way: Way::default() };
        Heard { room: Room::new(room).expect("a room"), position: None, came_us: None, said }
    }

    fn ask(store: &Store, room: Option<&str>, after: Option<u64>, limit: usize) -> (Vec<u64>, bool, bool) {
        let room = room.map(|room| Room::new(room).expect("a room"));
        let page = store.page(&Question { room, after, limit }).expect("a page");
        (page.messages.iter().filter_map(|heard| heard.position).collect(), page.more, page.forgotten)
    }

    fn folder() -> std::path::PathBuf {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("lab-chat-store-{}-{number}", std::process::id()))
    }

    #[test]
    fn what_comes_again_keeps_its_place_also_after_a_restart() {
        let folder = folder();
        let path = folder.join("history.redb");
        let store = Store::open(&path).expect("a store");
        assert_eq!(store.keep(vec![said("a", "1"), said("b", "2"), said("a", "1")]).expect("kept"), 2);
        drop(store);
        let store = Store::open(&path).expect("a store");
        assert_eq!(
            store.keep(vec![said("b", "2"), said("a", "3"), said("a", ""), said("a", "")]).expect("kept"),
            3
        );
        assert_eq!(ask(&store, Some("a"), None, 10), (vec![1, 3, 4, 5], false, false));
        assert_eq!(ask(&store, Some("a"), None, 2), (vec![4, 5], false, false));
        assert_eq!(ask(&store, Some("a"), Some(0), 2), (vec![1, 3], true, false));
        assert_eq!(ask(&store, Some("a"), Some(3), 2), (vec![4, 5], false, false));
        assert_eq!(ask(&store, Some("b"), Some(2), 10), (vec![], false, false));
        assert_eq!(ask(&store, None, Some(1), 10), (vec![2, 3, 4, 5], false, false));
        assert_eq!(ask(&store, None, None, 10), (vec![], false, false));
        assert_eq!(ask(&store, None, Some(u64::MAX), 10), (vec![], false, false));
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn a_page_of_large_messages_is_bounded_in_bytes() {
        let folder = folder();
        let store = Store::open(&folder.join("history.redb")).expect("a store");
        let large = |id: u64| {
            let mut heard = said("a", &id.to_string());
            heard.said.text = "\u{1f980}".repeat(2_000);
            heard
        };
        store.keep((1..=100).map(large).collect()).expect("kept");
        let fit = ask(&store, Some("a"), Some(0), PAGE).0.len() as u64;
        assert!(fit > 10 && fit < 40, "{fit} messages of 8 KB");
        for after in [0, 50] {
            let page = store.page(&Question { room: None, after: Some(after), limit: PAGE }).expect("a page");
            let json = serde_json::to_vec(&page).expect("a struct has a JSON form");
            assert!(json.len() <= PAGE_BYTES + 1024, "{} bytes", json.len());
            assert_eq!((page.messages.len() as u64, page.more), (fit, true), "more follow behind these");
        }
        assert_eq!(ask(&store, Some("a"), None, 50), ((101 - fit..=100).collect(), false, false));
        assert!(!ask(&store, Some("a"), Some(100 - fit), PAGE).1, "these are the last");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn the_oldest_go_and_that_is_said() {
        let folder = folder();
        let store = Store::keeping(&folder.join("history.redb"), 3).expect("a store");
        for id in ["1", "2", "3", "4", "5"] {
            store.keep(vec![said("a", id)]).expect("kept");
        }
        assert_eq!(ask(&store, Some("a"), Some(0), 10), (vec![3, 4, 5], false, true));
        assert_eq!(ask(&store, Some("a"), Some(2), 10), (vec![3, 4, 5], false, false));
        assert_eq!(ask(&store, Some("a"), None, 10), (vec![3, 4, 5], false, false));
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn fuzz_chat_pages() {
        let messages = vec![said("lobby", "1"), Heard { position: Some(2), ..said("a", "") }];
        let page = Page { end: 2, messages, more: true, forgotten: false };
        let question = Question { room: Some(Room::new("a").expect("a room")), after: Some(2), limit: 50 };
        let seeds =
            [serde_json::to_vec(&page), serde_json::to_vec(&question)].map(|json| json.expect("JSON"));
        fuzz::Target::new("chat_pages").seeds(seeds).run(|input| {
            let question = serde_json::from_slice::<Question>(input).ok();
            if let Some(question) = &question {
                let again = serde_json::to_vec(question).expect("JSON");
                assert_eq!(serde_json::from_slice::<Question>(&again).ok().as_ref(), Some(question));
            }
            let Ok(page) = serde_json::from_slice::<Page>(input) else { return question.is_some() };
            let again = serde_json::to_vec(&page).expect("JSON");
            assert_eq!(serde_json::from_slice::<Page>(&again).expect("a page"), page);
            true
        });
    }
}
