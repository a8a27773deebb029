//! Publish/subscribe over STOMP: RabbitMQ's exchange `amq.topic`, and a queue for every subscriber.
//! STOMP cannot declare exchanges, so all places share this one.
//!
//! Wire: the publisher writes SEND frames with the destination `/topic/PLACE.TOPIC`, and RabbitMQ
//! publishes them to the exchange; the place's name is the first word of the routing key. For a
//! SUBSCRIBE to a pattern of such keys, with `ack:auto` (without acks), RabbitMQ makes a queue,
//! binds it to the exchange, and deletes it when the subscriber goes.
//!
//! Confirms: a subscription: the RECEIPT frame of SUBSCRIBE comes after the binding. Events only
//! for RabbitMQ: the last SEND before a `flush` asks for a RECEIPT frame, which says that all
//! events have been put into the subscribers' queues. `publish` waits while 256 KiB are not
//! written.
//!
//! Survives: the death of a publisher or a subscriber: the others go on. A slow subscriber: its
//! queue grows in RabbitMQ. After a cut connection or a restart of RabbitMQ, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the events, see Loses.
//!
//! Loses: what is published while a subscriber is away, also while it joins again; its queue, which
//! is deleted with its connection; what is on its way when a connection is cut or a side dies;
//! everything when RabbitMQ stops.
//!
//! Run it: `just lab pubsub-stomp`. Watch it: `rabbitmqctl list_bindings`.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, MAX_LEN, Topic, TopicReader};
use crate::wire::stomp::{self, Command, ConsumerConnection, Frame, ProducerConnection};

/// Keys of `amq.topic` that begin with the place's name.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A subscriber's queue goes with it, and the exchange is not ours.
    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Stomp {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Words];
    type Publisher = TopicPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<TopicPublisher> {
        let connection = ProducerConnection::open(&self.place).await?;
        Ok(TopicPublisher { connection, topics: stomp::topics(&self.place), last: None })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        let pattern = pattern(&self.place, filter)?;
        let prefetch = 0;
        let mut connection = ConsumerConnection::open(&self.place, prefetch).await?;
        // Exclusive: some brokers allow no other queue that is not durable.
        let subscribe =
            [("destination", pattern.as_str()), ("ack", "auto"), ("id", "0"), ("exclusive", "true")];
        connection.request(Command::Subscribe, &subscribe).await.context("cannot subscribe")?;
        Ok(TopicSubscriber { connection, events: EventReader::of(&self.place) })
    }
}

/// The destination to subscribe to for what `filter` matches. `*` is any one word, and `#` any
/// number of words, as in an AMQP binding.
pub(crate) fn pattern(place: &Place, filter: &Filter) -> Result<String> {
    filter.require(Stomp::TRANSPORT, Stomp::FILTERS)?;
    destination(
        &stomp::topics(place),
        match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        },
    )
}

/// The destination of a topic. The routing key, with the place's name, is an AMQP short string,
/// whose length is limited.
pub(crate) fn destination(topics: &str, topic: &str) -> Result<String> {
    let most = "/topic/".len() + MAX_LEN;
    let length = topics.len() + topic.len();
    ensure!(
        length <= most,
        "the topic `{topic}` is {} bytes too long behind this place's name",
        length - most
    );
    Ok([topics, topic].concat())
}

/// Publishes with the topic as routing key.
pub struct TopicPublisher {
    connection: ProducerConnection,
    topics: String,
    /// The event that was accepted last, with its destination. It is kept back, because a flush
    /// asks for its RECEIPT frame.
    last: Option<(String, Bytes)>,
}

impl Publisher for TopicPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let destination = destination(&self.topics, topic.as_str())?;
        self.connection.room().await?;
        match self.last.replace((destination, body)) {
            Some((before, body)) => self.connection.put(Command::Send, &[("destination", &before)], &body),
            None => Ok(()),
        }
    }

    /// More than written: the RECEIPT frame of the last event says that all events have been put into
    /// the subscribers' queues.
    async fn flush(&mut self) -> Result<()> {
        if let Some((destination, body)) = self.last.take() {
            self.connection.put_in_flight(Command::Send, &[("destination", &destination)], &body)?;
        }
        self.connection.flush().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}

/// Reads from a queue of its own, without acks.
pub struct TopicSubscriber {
    connection: ConsumerConnection,
    events: EventReader,
}

impl Subscriber for TopicSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            // Anybody can publish to `amq.topic`: what is not an event is skipped.
            if let Some(event) = self.events.read(&self.connection.next().await?) {
                return Ok(Some(event));
            }
        }
    }
}

/// Makes events of MESSAGE frames.
pub(crate) struct EventReader {
    topics: String,
    reader: TopicReader,
}

impl EventReader {
    pub(crate) fn of(place: &Place) -> Self {
        Self { topics: stomp::topics(place), reader: TopicReader::new(place) }
    }

    /// The event that this MESSAGE is. A key may have words that no topic has: the message is
    /// counted as skipped.
    pub(crate) fn read(&mut self, frame: &Frame) -> Option<Event> {
        let destination = frame.header("destination").unwrap_or_default();
        // A binding to `PLACE.#` also matches the key `PLACE`, which has no topic.
        let topic = destination.strip_prefix(self.topics.as_str()).unwrap_or_default();
        Some(Event { topic: self.reader.read(topic.as_bytes())?, body: frame.body.clone() })
    }
}
