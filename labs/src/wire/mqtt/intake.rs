//! An inbox whose messages are acknowledged.

use anyhow::Result;
use rumqttc::v5::mqttbytes::v5::Publish;

use super::Link;

/// Takes messages that want to be acknowledged, at most so many at a time.
///
/// MQTT 5 has the *receive maximum* for that, and the broker is told. But with
/// every PUBACK, Mosquitto 2.0.11 sends that many more, however many are still
/// unacknowledged: so whatever is too much waits here and is not handed out.
pub(crate) struct Intake {
    pub(crate) link: Link,
    most: usize,
    unsettled: usize,
}

impl Intake {
    pub(crate) fn new(link: Link, most: u16) -> Self {
        Self { link, most: usize::from(most).max(1), unsettled: 0 }
    }

    /// Waits until one more may be handed out. Cancel-safe.
    pub(crate) async fn room(&self) {
        if self.unsettled >= self.most {
            // Settling needs `&mut self`, so whoever waits here has given this
            // future up by then.
            std::future::pending().await
        }
    }

    /// The next message, when one more may be handed out. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Publish> {
        self.room().await;
        let message = self.link.inbox.next().await?;
        self.unsettled += 1;
        Ok(message)
    }

    /// One that was given back is handed out again.
    pub(crate) fn take_again(&mut self) {
        self.unsettled += 1;
    }

    /// Not done with it, and the broker is not told.
    pub(crate) fn give_back(&mut self) {
        self.unsettled -= 1;
    }

    /// Done with it: accepted.
    pub(crate) async fn ack(&mut self, message: &Publish) -> Result<()> {
        self.unsettled -= 1;
        self.link.out.ack(message).await
    }

    /// The broker knows what was acknowledged.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.link.out.barrier().await
    }
}
