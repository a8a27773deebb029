//! One-way over NATS core: a subject with one subscriber.
//!
//! Wire: the sender publishes to a subject (`PUB PLACE`), and NATS copies each message to all
//! that have subscribed to that subject at that moment (`SUB PLACE`), in order for each sender. NATS
//! stores nothing and acknowledges nothing.
//!
//! Confirms: nothing. `send` returns when the client has accepted the message, `flush` when all are
//! written, `close` when NATS has read them. `receiver` returns when the subscription is in force:
//! after SUB, the receiver sends itself a message and waits for it.
//!
//! Survives: the death of a sender or a receiver, for the other side: a new receiver gets what is
//! published from then on. After a cut connection or a restart of NATS, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: what is published while no receiver is there, also while it joins again; what is on its
//! way when a connection is cut, or when a side or NATS dies. Under overload, the client keeps
//! `high-water` messages for a receiver that is too slow, and drops newer ones. If the client
//! itself reads too slowly, NATS closes the connection (by default when 64 MB wait, or when a write
//! takes ten seconds).
//!
//! Run it: `just lab oneway-nats`. Watch it: `nats sub '>'`.

use anyhow::{Context as _, Result};
use async_nats::Subject;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::{OneWay, Receiver, Sender};
use crate::wire::nats::{self, CountedSubscription, NatsConnection};

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
    const RECOVERY: Recovery = Recovery::Ours;
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
        let connection = NatsConnection::connect(&self.place).await?;
        Ok(SubjectSender { connection, subject: self.place.name().into() })
    }

    async fn receiver(&self) -> Result<SubjectReceiver> {
        let (connection, subject) = (NatsConnection::connect(&self.place).await?, self.place.name());
        let subscribe = connection.client.subscribe(subject.clone());
        let messages = subscribe.await.with_context(|| format!("cannot subscribe to {subject}"))?;
        // NATS does not answer SUB. It handles the commands of a connection in order: when a
        // message to ourselves comes back, the subscription is in force.
        connection.round_trip().await?;
        Ok(SubjectReceiver { messages: CountedSubscription::new(&self.place, connection, messages) })
    }
}

/// Publishes to the subject.
pub struct SubjectSender {
    connection: NatsConnection,
    subject: Subject,
}

impl Sender for SubjectSender {
    /// Accepted: the client's own task writes it when this one yields.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        let publish = self.connection.client.publish(self.subject.clone(), body);
        self.connection.hand_over(publish).await
    }

    /// Written to the socket. NATS may not have read it.
    async fn flush(&mut self) -> Result<()> {
        self.connection.unless_lost(self.connection.client.flush()).await
    }

    /// NATS has read all of it, and passed it on to all subscribers.
    async fn close(self) -> Result<()> {
        self.connection.round_trip().await
    }
}

/// Subscribes to the subject.
pub struct SubjectReceiver {
    messages: CountedSubscription,
}

impl Receiver for SubjectReceiver {
    /// Never `None`: NATS does not know who may still publish.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(Some(self.messages.next().await?.payload))
    }
}
