//! Request/reply over MQTT 5 at QoS 0: a topic of requests that responders share, and one of
//! replies for each requester.
//!
//! Wire: a request is a PUBLISH packet to `PLACE/requests`, with two properties: a *response topic*
//! (`PLACE/replies/N`), to which its requester has subscribed, and *correlation data*, which the
//! reply brings back. The broker passes both on and reads neither. Responders share a subscription
//! (`$share/responders/PLACE/requests`), so each request goes to one of them.
//!
//! Confirms: a request by its reply, and by nothing before: at QoS 0 nothing is acknowledged. `ask`
//! waits for the reply without a limit. `responder` returns when the broker has agreed to the
//! subscription (SUBACK).
//!
//! Survives: a responder that dies: later requests go to the others. A slow one: it reads no
//! further while 256 requests wait, and the rest wait at the broker (a private Mosquitto has no
//! limit; by default Mosquitto drops them beyond 1,000, `max_queued_messages`). A requester that
//! gives up: its reply reaches nobody. After a cut connection or a restart of the broker, the
//! recovery layer (`labs/src/recovery/`) connects and joins again; for the requests, see Loses.
//!
//! Loses: requests that a responder had, or that were on their way to it, when it died or its
//! connection was cut; requests that are published while there is no responder. Their `ask` waits
//! for ever, unless the caller sets a timeout. When a requester loses its connection, each open
//! `ask` ends with `ConnectionLost`: the recovery layer does not ask again. Everything on its way
//! when the broker dies.
//!
//! Run it: `just lab reqrep-mqtt`. Watch it: `mosquitto_sub -V 5 -t 'PLACE/#' -F '%t %R %D %p'`.

use std::hash::{BuildHasher, RandomState};

use anyhow::Result;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::mqtt::packet::PublishProperties;
use crate::wire::mqtt::{self, IncomingMessages, MqttClient, MqttConnection, Publication, QoS};

/// A topic of requests, and one of replies for each requester.
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

    /// There is nothing to remove: a subscription ends with its connection, and the broker stores no
    /// message. Connecting only reports a broker that is not there.
    async fn remove(place: &Place) -> Result<()> {
        MqttConnection::connect(place).await?.disconnect().await
    }
}

impl RequestReply for Mqtt {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = TopicRequester;
    type Responder = TopicResponder;

    async fn requester(&self) -> Result<TopicRequester> {
        let MqttConnection { client, incoming, .. } = MqttConnection::connect(&self.place).await?;
        // A new hasher has a random key: no two requesters have the same topic.
        let replies = format!("replies/{:016x}", RandomState::new().hash_one(std::process::id()));
        let replies = mqtt::topic(&self.place, &replies);
        client.subscribe(&replies, QoS::AtMostOnce).await?;
        let pending = Pending::default();
        let reader = tokio::spawn(read_replies(incoming, pending.clone(), self.place.clone()));
        let requests = mqtt::topic(&self.place, "requests");
        Ok(TopicRequester { client, requests, replies, pending, reader })
    }

    async fn responder(&self) -> Result<TopicResponder> {
        let requests = MqttConnection::connect(&self.place).await?;
        let shared = format!("$share/responders/{}", mqtt::topic(&self.place, "requests"));
        requests.client.subscribe(&shared, QoS::AtMostOnce).await?;
        // The client reads and writes in one loop, which stops while nobody takes incoming messages.
        // So replies need a connection of their own.
        let replies = MqttConnection::connect(&self.place).await?.client;
        Ok(TopicResponder { requests: requests.incoming, replies, place: self.place.clone() })
    }
}

/// Asks with new correlation data for every request.
pub struct TopicRequester {
    client: MqttClient,
    requests: String,
    replies: String,
    pending: Pending,
    reader: JoinHandle<()>,
}

impl Requester for TopicRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let properties = Some(PublishProperties {
            response_topic: Some(self.replies.clone()),
            correlation_data: Some(Bytes::copy_from_slice(&ticket.id().to_be_bytes())),
            ..PublishProperties::default()
        });
        let (topic, qos, body) = (self.requests.clone(), QoS::AtMostOnce, request.0);
        self.client.publish(Publication { topic, qos, body, properties, retain: false }).await?;
        Ok(Document(ticket.reply().await?))
    }
}

impl Drop for TopicRequester {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Hands every reply to the `ask` that waits for it.
async fn read_replies(mut replies: IncomingMessages, pending: Pending, place: Place) {
    while let Ok(reply) = replies.next().await {
        let id = reply.properties.and_then(|properties| properties.correlation_data);
        let id = id.and_then(|id| Some(u64::from_be_bytes(id.as_ref().try_into().ok()?)));
        pending.hand_out_or_skip(id, reply.payload, &place);
    }
    pending.close();
}

/// Answers the requests it is sent, to the topic that each names.
pub struct TopicResponder {
    requests: IncomingMessages,
    replies: MqttClient,
    place: Place,
}

impl Responder for TopicResponder {
    /// The response topic and the correlation data.
    type ReplyTo = ReturnAddress<String, Option<Bytes>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = self.requests.next().await?;
            let properties = request.properties.unwrap_or_default();
            // The broker would disconnect a client that publishes to something that is not a topic.
            if let Some(address) = properties.response_topic.filter(|topic| is_topic(topic)) {
                let to = ReturnAddress { address, id: properties.correlation_data };
                return Ok(Some((Command(request.payload), to)));
            }
            self.place.message_skipped("a request without a response topic cannot be answered");
        }
    }

    /// Accepted: the client's own task writes it.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        let properties = Some(PublishProperties { correlation_data: to.id, ..PublishProperties::default() });
        let (topic, qos, body) = (to.address, QoS::AtMostOnce, reply.0);
        self.replies.publish(Publication { topic, qos, body, properties, retain: false }).await
    }
}

/// Whether one can publish to it: it is not empty, and has no wildcards.
fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}
