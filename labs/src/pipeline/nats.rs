//! A pipeline over NATS core: workers share the subject of the tasks as a queue
//! group, the sink listens to the subject of the results, and the subjects of
//! `pubsub/nats.rs` carry `stop`.
//!
//! NATS draws a member of the group by lot for every task, and does not ask
//! whether it keeps up. Promises: each task goes to one worker. Loses: the
//! tasks that a dying worker had, what no worker was there for, and what a slow
//! one had no room for; nothing is acknowledged.
//!
//! Run it: `just lab pipeline-nats`.

use anyhow::Result;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::nats::SubjectSender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::nats::{self, Line, Listener};

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
    type Push = SubjectSender;
    type Pull = GroupPull;
    type Control = pubsub::nats::Nats;

    async fn push(&self, stage: Stage) -> Result<SubjectSender> {
        Ok(SubjectSender::new(Line::to(&self.place).await?, self.place.namespace(stage.namespace()).name()))
    }

    async fn pull(&self, stage: Stage) -> Result<GroupPull> {
        let subject = self.place.namespace(stage.namespace()).name();
        Ok(GroupPull { messages: Listener::to(&self.place, subject, Some("workers")).await? })
    }
}

/// Takes what falls to it; there is nothing to settle.
pub struct GroupPull {
    messages: Listener,
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
