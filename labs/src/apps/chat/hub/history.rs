//! What the hub wants to know of the history, and what it does with the answers.

use std::collections::{BTreeMap, VecDeque};

use axum::extract::ws::Utf8Bytes;
use serde_json::json;

use super::{Hub, told};
use crate::apps::chat::message::Heard;
use crate::apps::chat::room::Room;
use crate::apps::chat::store::{PAGE, Page, Question};

/// Messages that somebody who comes is shown.
const FIRST_PAGE: usize = 50;

/// A question, and for whom it is asked: one browser, or all.
#[derive(Debug)]
pub struct Wanted {
    client: Option<u64>,
    pub(in crate::apps::chat) question: Question,
}

#[derive(Default)]
pub(super) struct History {
    /// Everything up to here has gone to whoever was there.
    position: Option<u64>,
    /// Why it cannot be asked now.
    away: Option<String>,
    /// Pages for browsers, one each.
    pages: VecDeque<Wanted>,
    /// Whether to ask what is new.
    look: bool,
}

impl History {
    /// A browser wants what is behind `after`, or the newest.
    pub(super) fn page(&mut self, client: u64, room: Room, after: Option<u64>) {
        self.page_no_more(client);
        let limit = if after.is_some() { PAGE } else { FIRST_PAGE };
        let question = Question { room: Some(room), after, limit };
        self.pages.push_back(Wanted { client: Some(client), question });
    }

    pub(super) fn page_no_more(&mut self, client: u64) {
        self.pages.retain(|wanted| wanted.client != Some(client));
    }
}

/// Whether the history can be asked, for browsers.
pub(super) fn state(history: &History) -> Utf8Bytes {
    told("history", &json!({ "away": history.away }))
}

impl Hub {
    /// Something may be new in the history.
    pub fn look(&self) {
        self.lock().history.look = true;
        self.wants.notify_one();
    }

    /// Resolves when there is something to ask.
    pub async fn wants(&self) {
        self.wants.notified().await;
    }

    /// The next question: pages first, since somebody looks at an empty room.
    pub fn wanted(&self) -> Option<Wanted> {
        let history = &mut self.lock().history;
        if let Some(page) = history.pages.pop_front() {
            return Some(page);
        }
        let question = Question { room: None, after: history.position, limit: PAGE };
        std::mem::take(&mut history.look).then_some(Wanted { client: None, question })
    }

    /// It could not be asked.
    pub fn want_again(&self, wanted: Wanted) {
        let mut inner = self.lock();
        match wanted.client {
            // Unless it has gone meanwhile, or wants something else.
            Some(client) => {
                let other = inner.history.pages.iter().any(|page| page.client == Some(client));
                if inner.clients.contains_key(&client) && !other {
                    inner.history.pages.push_front(wanted);
                }
            }
            None => inner.history.look = true,
        }
    }

    /// The history cannot be asked now.
    pub fn history_away(&self, why: &str) {
        self.history_is(Some(why.to_owned()));
    }

    fn history_is(&self, away: Option<String>) {
        let mut inner = self.lock();
        if inner.history.away.is_some() != away.is_some() {
            inner.history.away = away;
            let text = state(&inner.history);
            inner.tell_all(&text);
        }
    }

    /// It has been answered.
    pub fn answered(&self, wanted: &Wanted, page: Page) {
        self.history_is(None);
        match wanted.client {
            Some(client) => self.page_for(client, wanted, page),
            None => self.news(page),
        }
    }

    fn page_for(&self, number: u64, wanted: &Wanted, page: Page) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        // Whatever comes behind this goes to everybody who is there, and so to it.
        inner.history.position.get_or_insert(page.end);
        let Some(client) = inner.clients.get_mut(&number) else { return };
        if client.room != wanted.question.room {
            return;
        }
        // What was taken from it for falling behind starts again where it stood.
        if !client.keeps_up() {
            return;
        }
        let last = page.messages.last().and_then(|heard| heard.position);
        let upto = if page.more { last } else { Some(page.end) };
        client.tell(&told(
            "page",
            &json!({
                "messages": page.messages, "upto": upto, "more": page.more,
                "forgotten": page.forgotten, "first": wanted.question.after.is_none(),
            }),
        ));
        if !client.keeps_up() {
            return;
        }
        client.position = upto;
        client.paging = page.more;
        if let (true, Some(room)) = (page.more, client.room.clone()) {
            inner.history.page(number, room, upto);
        }
    }

    /// What is new goes to everybody in its room, those too who have had it live:
    /// now it has a position, and they know it by its identifier.
    fn news(&self, page: Page) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let last = page.messages.last().and_then(|heard| heard.position);
        let Some(position) = inner.history.position else {
            inner.history.position = Some(page.end);
            return;
        };
        let reached = last.unwrap_or(position);
        inner.history.position = Some(reached);
        inner.history.look |= page.more;
        let mut rooms: BTreeMap<Room, Vec<Heard>> = BTreeMap::new();
        for heard in page.messages {
            inner.recent.is_new(&heard.said.id);
            rooms.entry(heard.room.clone()).or_default().push(heard);
        }
        for (room, messages) in rooms {
            let line = |upto| told("kept", &json!({ "messages": messages, "upto": upto }));
            let (complete, with_gap) = (line(Some(reached)), line(None));
            for client in inner.clients.values_mut().filter(|client| client.is_in(&room)) {
                client.tell(if client.paging { &with_gap } else { &complete });
                if !client.paging && client.keeps_up() {
                    client.position = Some(reached);
                }
            }
        }
    }
}
