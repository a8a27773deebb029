//! What went wrong and did not end the role: peers that were disconnected, messages that were
//! skipped, connections that were lost and opened again.
//!
//! An error of a peer ends that peer's connection, a message that no lab wrote is skipped, and a
//! lost connection is opened again ([`crate::recovery`]). They are counted here, and the code that
//! runs the role shows the counts.

use std::fmt::{self, Write as _};

use tokio::sync::watch;

use crate::printable::is_unprintable;

/// Characters of a reason that are kept: it may quote what a stranger sent.
const LONGEST_REASON: usize = 200;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// A peer broke the protocol, and its connection was closed.
    PeerDisconnected,
    /// A message that cannot be decoded was skipped.
    MessageSkipped,
    /// The connection to the broker or the peer was lost. It will be opened again.
    ConnectionLost,
    /// A lost connection is open again, and the role has joined again.
    Reconnected,
}

/// How often each happened, and the latest reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IncidentCounts {
    /// Peers that broke the protocol and were disconnected.
    pub peers_disconnected: u64,
    /// Messages that no lab wrote, and that were skipped.
    pub messages_skipped: u64,
    /// Connections whose loss was noticed.
    pub connections_lost: u64,
    /// Connections that were opened again after their loss.
    pub reconnects: u64,
    /// What happened last, and why: printable, at most some 200 characters.
    pub latest: Option<String>,
}

impl fmt::Display for IncidentCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let peers = plural(self.peers_disconnected, "peer");
        let messages = plural(self.messages_skipped, "message");
        let latest = self.latest.as_deref().unwrap_or("nothing happened");
        write!(f, "{latest} (so far: {peers} disconnected, {messages} skipped")?;
        if self.connections_lost + self.reconnects > 0 {
            let lost = plural(self.connections_lost, "connection");
            write!(f, ", {lost} lost, {} opened again", self.reconnects)?;
        }
        f.write_str(")")
    }
}

/// The incidents of one role. Whoever is interested waits for changes of
/// [`Incidents::watch`]; a flood of incidents costs no memory.
#[derive(Default)]
pub struct Incidents(watch::Sender<IncidentCounts>);

impl Incidents {
    pub(crate) fn add(&self, incident: Incident, why: &dyn fmt::Display) {
        let mut reason = Reason::default();
        let _ = write!(reason, "{why}"); // an error only says that the reason is long
        self.0.send_modify(|counts| {
            let what = match incident {
                Incident::PeerDisconnected => {
                    counts.peers_disconnected += 1;
                    "a peer was disconnected"
                }
                Incident::MessageSkipped => {
                    counts.messages_skipped += 1;
                    "a message was skipped"
                }
                Incident::ConnectionLost => {
                    counts.connections_lost += 1;
                    "the connection was lost"
                }
                Incident::Reconnected => {
                    counts.reconnects += 1;
                    "the connection is open again"
                }
            };
            counts.latest = Some(format!("{what}: {}", reason.0));
        });
    }

    /// What has happened so far.
    pub fn counts(&self) -> IncidentCounts {
        self.0.borrow().clone()
    }

    /// The counts, as they grow.
    pub fn watch(&self) -> watch::Receiver<IncidentCounts> {
        self.0.subscribe()
    }
}

/// The beginning of a text, with whatever a terminal would act on escaped.
#[derive(Default)]
struct Reason(String);

impl fmt::Write for Reason {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if self.0.len() >= LONGEST_REASON {
                self.0.push('…');
                return Err(fmt::Error);
            }
            match is_unprintable(char) {
                true => self.0.extend(char.escape_default()),
                false => self.0.push(char),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::{Broker, BrokerAddress};
    use crate::place::Place;

    #[test]
    fn lost_connections_are_shown_where_there_were_some() {
        let place = Place::new("p", None);
        place.connection_lost("the broker closed it");
        assert_eq!(
            place.incidents().counts().to_string(),
            "the connection was lost: the broker closed it (so far: 0 peers disconnected, 0 messages \
             skipped, 1 connection lost, 0 opened again)"
        );
        let address = BrokerAddress::parse(Broker::Redis, "redis://u:s3cret%2Fword@127.0.0.1").expect("one");
        let known = Place::new("p", Some(&address));
        for secret in ["s3cret/word", "s3cret%2Fword", address.reveal()] {
            known.connection_lost(format_args!("it said `{secret}`"));
            known.reconnected(format_args!("it had said `{secret}`"));
            let latest = known.incidents().counts().latest.expect("a reason");
            assert!(!latest.contains("s3cret"), "{latest}");
        }
        place.reconnected("reopened after 2 attempts");
        let counts = place.incidents().counts();
        assert_eq!((counts.connections_lost, counts.reconnects), (1, 1));
    }

    #[test]
    fn incidents_are_counted_and_the_last_reason_is_printable() {
        let place = Place::new("p", None).with_role("receiver-0");
        let (namespace, other) = (place.namespace("tasks"), place.clone().with_role("receiver-1"));
        assert_eq!(place.incidents().counts(), IncidentCounts::default());
        place.peer_disconnected(format_args!("it sent {:?}", [255; 4]));
        namespace.message_skipped("topic `\u{1b}[2J\n`");
        let latest = Some("a message was skipped: topic `\\u{1b}[2J\\n`".to_owned());
        let expected =
            IncidentCounts { peers_disconnected: 1, messages_skipped: 1, latest, ..Default::default() };
        assert_eq!(place.incidents().counts(), expected);
        assert_eq!(other.incidents().counts(), IncidentCounts::default(), "each role has its own");
        place.message_skipped("ü".repeat(1 << 20));
        let latest = place.incidents().counts().latest.expect("a reason");
        assert!(latest.len() < 300 && latest.ends_with('…'), "{latest}");
    }
}
