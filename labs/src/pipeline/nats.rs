//! A pipeline over NATS core: a subject of tasks for a queue group of workers, and a subject of
//! results.
//!
//! Wire: tasks are published to one subject (`PUB PLACE.tasks`), to which the workers subscribe as
//! a queue group (`SUB PLACE.tasks workers`); results are published to another
//! (`PUB PLACE.results`), to which the sink subscribes likewise. NATS chooses a member of the group
//! at random for every task, whether it keeps up or not. The signal to stop the workers goes
//! through `pubsub/nats.rs`.
//!
//! Confirms: nothing: no message is stored or acknowledged. `send` returns when the client has
//! accepted the message, `flush` when all are written, `close` when NATS has read them. `pull`
//! returns when the subscription is in force.
//!
//! Survives: the death of a worker: the others get the next tasks. After a cut connection or a
//! restart of NATS, the recovery layer (`labs/src/recovery/`) connects and joins again; for the
//! messages, see Loses.
//!
//! Loses: the tasks of a worker that dies or whose connection is cut; a task that was given back,
//! because NATS has no nack; what is published before the first worker, or the sink, is there, or
//! while it joins again; everything on its way when NATS dies. Under overload, the client keeps
//! `high-water` messages for a worker or a sink that is too slow, and drops newer ones.
//!
//! Run it: `just lab pipeline-nats`. Watch it: `nats sub 'PLACE.>'`.

use anyhow::{Context as _, Result};
use async_nats::Subject;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::nats::{self, CountedSubscription, NatsConnection};

/// Two subjects.
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

impl Pipeline for Nats {
    const SHARING: Sharing = Sharing::Random;
    type Push = SubjectPush;
    type Pull = GroupPull;
    type Control = pubsub::nats::Nats;

    async fn push(&self, stage: Stage) -> Result<SubjectPush> {
        let connection = NatsConnection::connect(&self.place).await?;
        Ok(SubjectPush { connection, subject: self.place.namespace(stage.namespace()).name().into() })
    }

    async fn pull(&self, stage: Stage) -> Result<GroupPull> {
        let connection = NatsConnection::connect(&self.place).await?;
        let subject = self.place.namespace(stage.namespace()).name();
        let subscribe = connection.client.queue_subscribe(subject.clone(), "workers".to_owned());
        let messages = subscribe.await.with_context(|| format!("cannot subscribe to {subject}"))?;
        // NATS does not answer SUB. It handles the commands of a connection in order: when a
        // message to ourselves comes back, the subscription is in force.
        connection.round_trip().await?;
        Ok(GroupPull { messages: CountedSubscription::new(&self.place, connection, messages) })
    }
}

/// Publishes to the subject of a stage.
pub struct SubjectPush {
    connection: NatsConnection,
    subject: Subject,
}

impl Sender for SubjectPush {
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

/// Takes the messages that NATS chooses it for; there is nothing to acknowledge.
pub struct GroupPull {
    messages: CountedSubscription,
}

impl Consumer for GroupPull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let item = self.messages.next().await?.payload;
        Ok(Some(Delivery { item, attempt: 1, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    /// `Ok`, and the task is lost: NATS has forgotten it when it has sent it.
    async fn nack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
