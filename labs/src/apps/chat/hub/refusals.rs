//! What the hub refuses of what a browser sends.

use serde_json::json;

use super::Hub;
use super::frame::frame;
use super::pace::Verdict;
use crate::apps::chat::message;

impl Hub {
    /// What happens to the frame that a browser has sent.
    pub(in crate::apps::chat) fn pace(&self, number: u64) -> Verdict {
        self.lock().clients.get_mut(&number).map_or(Verdict::Leave, |client| client.pace.frame())
    }

    /// What it sends is refused; `again` if it may send it again.
    pub(in crate::apps::chat) fn refuse(&self, number: u64, id: Option<&str>, why: &str, again: bool) {
        let id = id.filter(|id| message::is_id(id));
        if let Some(client) = self.lock().clients.get_mut(&number) {
            client.tell(&frame("refused", &json!({ "id": id, "why": why, "again": again })));
        }
    }
}
