//! How many messages a reader may hold unacknowledged.

/// Counts the messages that a reader holds, and makes it wait at a limit.
///
/// MQTT 5 has the *receive maximum* for that, and the broker is told. But with every PUBACK,
/// Mosquitto 2.0.11 sends that many more, however many are still unacknowledged: so messages
/// beyond the limit wait in [`super::IncomingMessages`] and are not handed out.
pub(crate) struct UnackedLimit {
    most: usize,
    unacked: usize,
}

impl UnackedLimit {
    pub(crate) fn new(most: u16) -> Self {
        Self { most: usize::from(most).max(1), unacked: 0 }
    }

    /// Waits until another message may be handed out. Cancel-safe.
    pub(crate) async fn room(&self) {
        if self.unacked >= self.most {
            // To ack a message needs `&mut` of the consumer that waits here, so its caller
            // drops this future first.
            std::future::pending().await
        }
    }

    /// A message was handed out.
    pub(crate) fn add(&mut self) {
        self.unacked += 1;
    }

    /// A message that was handed out is acked or nacked.
    pub(crate) fn remove(&mut self) {
        self.unacked -= 1;
    }
}
