//! One-way over NATS core: the sender publishes to a subject, and NATS copies
//! each message to whoever has subscribed to it at that moment.
//!
//! Nothing is stored and nothing is confirmed. Promises: order per sender, and
//! that a receiver is live when `receiver` returns. Loses: what is sent while
//! nobody receives; what a slow receiver has no room for, since the client
//! reads on and drops what is beyond its high-water mark; and, where even the
//! client is too slow to read, NATS closes the connection (64 MB are waiting,
//! or ten seconds have passed).
//!
//! Run it: `just lab oneway-nats`. Listen in: `nats sub '>'`.

use anyhow::Result;
use async_nats::Subject;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::nats::{self, Line, Listener};

/// A subject named after the place.
pub struct Nats {
    place: Place,
}

impl Lab for Nats {
    const TRANSPORT: &'static str = "nats";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A subject is gone when its last subscriber is.
    async fn remove(_place: &Place) -> Result<()> {
        Ok(())
    }
}

impl OneWay for Nats {
    type Sender = SubjectSender;
    type Receiver = SubjectReceiver;

    async fn sender(&self) -> Result<SubjectSender> {
        Ok(SubjectSender::new(Line::to(&self.place).await?, self.place.name()))
    }

    async fn receiver(&self) -> Result<SubjectReceiver> {
        Ok(SubjectReceiver { messages: Listener::to(&self.place, self.place.name(), None).await? })
    }
}

/// Publishes to one subject.
pub struct SubjectSender {
    line: Line,
    subject: Subject,
}

impl SubjectSender {
    pub(crate) fn new(line: Line, subject: String) -> Self {
        Self { line, subject: subject.into() }
    }
}

impl Sender for SubjectSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.line.publish(self.subject.clone(), body).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.line.flush().await
    }

    /// NATS has read all of it, and passed it on to whoever listens.
    async fn close(self) -> Result<()> {
        self.line.round_trip().await
    }
}

/// Listens to one subject.
pub struct SubjectReceiver {
    messages: Listener,
}

impl Receiver for SubjectReceiver {
    /// Never `None`: NATS does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.messages.next().await?.payload))
    }
}
