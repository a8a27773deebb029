//! A pipeline over MQTT 5 at QoS 0: a topic of tasks that workers share, and a topic of results.
//! `queue-mqtt` shows what it takes to do better.
//!
//! Wire: tasks are PUBLISH packets to `PLACE/tasks`, and workers share a subscription to that
//! topic, `$share/workers/PLACE/tasks`: the broker sends each task to one of them, in turn. Results
//! go to `PLACE/results`, to which the sink subscribes likewise, alone. The signal to stop the
//! workers goes through `pubsub/mqtt.rs`.
//!
//! Confirms: nothing: at QoS 0 no message is acknowledged. `send` returns when the client has
//! accepted the message, and waits while 1,024 of them, or 4 MiB, are not written; `flush` returns
//! when the broker has passed all on. `pull` returns when the broker has confirmed the subscription
//! (SUBACK).
//!
//! Survives: the death of a worker: the others get the next tasks. A slow worker gets its share
//! whether it keeps up or not: what it has not read waits for it at the broker, and no other worker
//! gets it (a private Mosquitto has no limit; by default Mosquitto drops tasks beyond 1,000,
//! `max_queued_messages`). After a cut connection or a restart of the broker, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: the tasks of a worker that dies or whose connection is cut; what the sink had not read
//! when it died or its connection was cut; what is published before the first worker, or the sink,
//! has subscribed, or while it joins again; everything on its way when the broker dies.
//!
//! Run it: `just lab pipeline-mqtt`. Watch it: `mosquitto_sub -t 'PLACE/#' -v`.

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, Sharing, Stage};
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::mqtt::{self, IncomingMessages, MqttConnection, Publication, QoS};

/// Two topics that are shared among their subscribers.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const BROKER_FEATURES: &'static [BrokerFeature] = &[BrokerFeature::SharedSubscriptions];
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;

    /// A topic need not be created; this only finds out that the broker is there.
    async fn open(place: &Place) -> Result<Self> {
        MqttConnection::connect(place).await?.disconnect().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        pubsub::mqtt::Mqtt::remove(&place.namespace("control")).await
    }
}

impl Pipeline for Mqtt {
    const SHARING: Sharing = Sharing::RoundRobin;
    type Push = TopicPush;
    type Pull = SharedPull;
    type Control = pubsub::mqtt::Mqtt;

    async fn push(&self, stage: Stage) -> Result<TopicPush> {
        let connection = MqttConnection::connect(&self.place).await?;
        Ok(TopicPush { connection, topic: mqtt::topic(&self.place, stage.namespace()) })
    }

    async fn pull(&self, stage: Stage) -> Result<SharedPull> {
        let MqttConnection { client, incoming, .. } = MqttConnection::connect(&self.place).await?;
        let shared = format!("$share/workers/{}", mqtt::topic(&self.place, stage.namespace()));
        client.subscribe(&shared, QoS::AtMostOnce).await?;
        Ok(SharedPull { incoming })
    }
}

/// Publishes to the topic of a stage.
pub struct TopicPush {
    connection: MqttConnection,
    topic: String,
}

impl Sender for TopicPush {
    /// Accepted: the client's own task writes it.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        let (topic, qos) = (self.topic.clone(), QoS::AtMostOnce);
        self.connection.client.publish(Publication { topic, qos, body, ..Publication::default() }).await
    }

    /// More than written: the broker has passed it on. It has confirmed nothing.
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await
    }

    async fn close(self) -> Result<()> {
        self.connection.disconnect().await
    }
}

/// Takes the messages that the broker sends to this member of the shared subscription.
pub struct SharedPull {
    incoming: IncomingMessages,
}

impl Consumer for SharedPull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let item = self.incoming.next().await?.payload;
        Ok(Some(Delivery { item, attempt: 1, receipt: () }))
    }

    /// At QoS 0 there is nothing to acknowledge.
    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("at QoS 0 the broker does not take a message back")
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
