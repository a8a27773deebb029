//! What the hub says of its own browsers to other instances, and hears of theirs.

use bytes::Bytes;

use super::Hub;
use super::client::Client;
use super::people::Presence;

impl Hub {
    /// What this instance says of its own browsers.
    pub fn presence(&self) -> Bytes {
        Presence::of(self.instance(), self.lock().clients.values().filter_map(Client::person)).body()
    }

    /// Resolves when there is something new to say.
    pub async fn news_of_people(&self) {
        self.here.notified().await;
    }

    /// Another instance, or this one, says who is there. False for what no instance says.
    pub fn heard_presence(&self, body: &[u8]) -> bool {
        let Some(presence) = Presence::read(body) else { return false };
        if presence.instance != self.instance() {
            self.lock().people.heard(presence);
        }
        true
    }
}
