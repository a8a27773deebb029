//! Request/reply over MQTT 5: a request carries a response topic, on which its
//! requester listens, and correlation data, which the reply brings back. Both
//! are properties of the protocol; the broker passes them on and reads neither.
//! Responders share a subscription, so each request is dealt to one of them.
//!
//! All of it at QoS 0. Promises: a reply reaches the `ask` it answers or nobody.
//! Loses: a request that was dealt to a responder that dies, or published while
//! there is none, and a reply whose requester has gone; so a caller who must not
//! wait for ever needs a timeout.
//!
//! Run it: `just lab reqrep-mqtt`. Listen in: `mosquitto_sub -V 5 -t 'PLACE/#' -F '%t %R %D %p'`.

use std::hash::{BuildHasher, RandomState};

use anyhow::Result;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::mqtt::packet::PublishProperties;
use crate::wire::mqtt::{self, Inbox, Link, Message, Outbox, QoS};

/// A topic of requests, and one of replies for each requester.
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

    /// A subscription ends with its connection, and nothing is kept without one.
    async fn remove(place: &Place) -> Result<()> {
        Link::to(place).await?.close().await
    }
}

impl RequestReply for Mqtt {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = TopicRequester;
    type Responder = TopicResponder;

    async fn requester(&self) -> Result<TopicRequester> {
        let link = Link::to(&self.place).await?;
        // A new hasher is keyed at random: no two requesters share a topic.
        let replies = format!("replies/{:016x}", RandomState::new().hash_one(std::process::id()));
        let replies = mqtt::topic(&self.place, &replies);
        link.subscribe(&replies, QoS::AtMostOnce).await?;
        let pending = Pending::default();
        let reader = tokio::spawn(read_replies(link.inbox, pending.clone()));
        let requests = mqtt::topic(&self.place, "requests");
        Ok(TopicRequester { requests, replies, out: link.out, pending, reader })
    }

    async fn responder(&self) -> Result<TopicResponder> {
        let requests = Link::to(&self.place).await?;
        let topic = mqtt::topic(&self.place, "requests");
        requests.subscribe(&mqtt::shared("responders", &topic), QoS::AtMostOnce).await?;
        // Replies have a connection of their own: one whose inbox is full is not
        // polled, and writes nothing either.
        let replies = Link::to(&self.place).await?.out;
        Ok(TopicResponder { requests: requests.inbox, replies })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct TopicRequester {
    requests: String,
    replies: String,
    out: Outbox,
    pending: Pending,
    reader: JoinHandle<()>,
}

impl Requester for TopicRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let properties = PublishProperties {
            response_topic: Some(self.replies.clone()),
            correlation_data: Some(Bytes::copy_from_slice(&ticket.id().to_be_bytes())),
            ..PublishProperties::default()
        };
        let (topic, properties) = (self.requests.clone(), Some(properties));
        self.out.publish(Message { topic, body: request.0, properties, ..Message::default() }).await?;
        Ok(Document(ticket.reply().await?))
    }
}

impl Drop for TopicRequester {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Answers what it is dealt, on the topic that the request names.
pub struct TopicResponder {
    requests: Inbox,
    replies: Outbox,
}

impl Responder for TopicResponder {
    /// The response topic and the correlation data.
    type ReplyTo = ReturnAddress<String, Option<Bytes>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = self.requests.next().await?;
            let properties = request.properties.unwrap_or_default();
            // What has no response topic cannot be answered, and is dropped.
            if let Some(address) = properties.response_topic {
                let to = ReturnAddress { address, id: properties.correlation_data };
                return Ok(Some((Command(request.payload), to)));
            }
        }
    }

    /// Handed to the client's own task, which writes it without being asked.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        let properties = PublishProperties { correlation_data: to.id, ..PublishProperties::default() };
        let (topic, properties) = (to.address, Some(properties));
        self.replies.publish(Message { topic, body: reply.0, properties, ..Message::default() }).await
    }
}

/// Hands every reply to the ask that waits for it.
async fn read_replies(mut replies: Inbox, pending: Pending) {
    while let Ok(reply) = replies.next().await {
        let id = reply.properties.and_then(|properties| properties.correlation_data);
        if let Some(id) = id.and_then(|id| Some(u64::from_be_bytes(id.as_ref().try_into().ok()?))) {
            pending.hand_out(id, reply.payload);
        }
    }
    pending.close();
}
