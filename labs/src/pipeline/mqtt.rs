//! A pipeline over MQTT 5: workers share a subscription to the topic of tasks,
//! `$share/workers/PLACE/tasks`, and the broker deals each task to one of them,
//! in turn. The sink has the topic of results to itself, and the topics of
//! `pubsub/mqtt.rs` carry `stop`.
//!
//! All of it at QoS 0. Promises: a task goes to one worker. Loses: what was dealt
//! to a worker that dies, and every task that is published before the first
//! worker has come. A worker is dealt its share whether it keeps up or not: what
//! a slow one has not read waits for it at the broker, and for nobody else.
//! `queue/mqtt.rs` shows what it takes to do better.
//!
//! Run it: `just lab pipeline-mqtt`.

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::oneway::mqtt::TopicSender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::mqtt::{self, Inbox, Link, QoS};

/// Two topics that are shared among their subscribers.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Link::to(place).await?.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        pubsub::mqtt::Mqtt::remove(&place.namespace("control")).await
    }
}

impl Pipeline for Mqtt {
    const SHARING: Sharing = Sharing::RoundRobin;
    type Push = TopicSender;
    type Pull = StagePull;
    type Control = pubsub::mqtt::Mqtt;

    async fn push(&self, stage: Stage) -> Result<TopicSender> {
        TopicSender::to(&self.place, mqtt::topic(&self.place, stage.namespace())).await
    }

    async fn pull(&self, stage: Stage) -> Result<StagePull> {
        let link = Link::to(&self.place).await?;
        let topic = mqtt::topic(&self.place, stage.namespace());
        link.subscribe(&mqtt::shared("workers", &topic), QoS::AtMostOnce).await?;
        Ok(StagePull { inbox: link.inbox })
    }
}

/// Takes what it is dealt.
pub struct StagePull {
    inbox: Inbox,
}

impl Consumer for StagePull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let item = self.inbox.next().await?.payload;
        Ok(Some(Delivery { item, attempt: 1, receipt: () }))
    }

    /// Nothing to acknowledge at QoS 0.
    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("what was dealt at QoS 0 is not taken back")
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
