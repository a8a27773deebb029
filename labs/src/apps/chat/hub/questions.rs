//! What the hub asks the history service, and how the answers reach browsers.

use std::collections::BTreeMap;

use serde_json::json;

use super::Hub;
use super::frame::frame;
use super::history::Wanted;
use crate::apps::chat::message::Heard;
use crate::apps::chat::room::Room;
use crate::apps::chat::store::{PAGE, Page, Question};

impl Hub {
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
            let text = inner.history.state();
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
        client.tell(&frame(
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
            let line = |upto| frame("kept", &json!({ "messages": messages, "upto": upto }));
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
