//! What the hub knows of the history service, and the questions that wait to be asked.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use serde_json::json;

use super::frame::frame;
use crate::apps::chat::room::Room;
use crate::apps::chat::store::{PAGE, Question};

/// Messages that somebody who comes is shown.
const FIRST_PAGE: usize = 50;

/// A question, and for whom it is asked: one browser, or all.
#[derive(Debug)]
pub struct Wanted {
    pub(super) client: Option<u64>,
    pub(in crate::apps::chat) question: Question,
}

#[derive(Default)]
pub(super) struct History {
    /// Everything up to here has gone to whoever was there.
    pub(super) position: Option<u64>,
    /// Why it cannot be asked now.
    pub(super) away: Option<String>,
    /// Pages for browsers, one each.
    pub(super) pages: VecDeque<Wanted>,
    /// Whether to ask what is new.
    pub(super) look: bool,
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

    /// Whether the history can be asked, for browsers.
    pub(super) fn state(&self) -> Utf8Bytes {
        frame("history", &json!({ "away": self.away }))
    }
}
