//! Durable subscribers on RabbitMQ: a topic exchange, and for each identifier a durable queue that
//! fills whether anybody consumes from it or not.
//!
//! Wire: the publisher publishes persistent events to the durable exchange `PLACE`
//! (`basic.publish`), as in `pubsub/rabbitmq.rs`. The queue `PLACE.ID` is bound to the exchange
//! with the filter (`queue.bind`). The subscriber consumes with a prefetch (`basic.consume`) and
//! acks each event (`basic.ack`), as a consumer of `queue/rabbitmq/mod.rs` does.
//!
//! Confirms: an event when every durable queue that wants it has it on disk, unless `delivery-mode`
//! is 1; `flush` waits for all confirms.
//!
//! Survives: kill -9 of a subscriber: what it had not acked is back in its queue at once. Kill -9
//! of RabbitMQ: confirmed events are on disk. A power cut, if the disk really stores what it says
//! it has stored. An absence of any length: every subscriber has its own copy, which costs disk
//! space until it is forgotten. A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not flushed or not acked is sent
//! again, and may come twice. After a restart of RabbitMQ the roles join again, too.
//!
//! Loses: events that were not confirmed when the publisher died. An event that was delivered
//! before is flagged, and its attempt is 2.
//!
//! Run it: `just lab durable-rabbitmq`. Watch it: `rabbitmqctl list_queues name messages`.

use anyhow::{Context, Result};
use bytes::Bytes;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, ExchangeKind};

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::rabbitmq::TopicSubscriber;
use crate::pubsub::{self, Event, PubSub, Publisher};
use crate::queue::rabbitmq::QueueConsumer;
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::amqp::{self, AmqpConnection};
use crate::wire::window::Window;

const PREFETCH: Knob = Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled.");
const DELIVERY_MODE: Knob = Knob::new(
    "delivery-mode",
    2,
    "2: an event is written to disk; 1: it may stay in memory, and be lost with it.",
)
.weaker_at(1, Guarantee::AtLeastOnce);

/// A durable topic exchange, and a durable queue for every durable subscriber.
pub struct RabbitMq {
    place: Place,
}

impl Lab for RabbitMq {
    const TRANSPORT: &'static str = "rabbitmq";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH, DELIVERY_MODE];

    async fn open(place: &Place) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        let (exchange, kind) = (place.name(), ExchangeKind::Topic);
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let declare = connection.channel.exchange_declare(
            exchange.as_str().into(),
            kind,
            options,
            FieldTable::default(),
        );
        declare.await.with_context(|| format!("cannot declare the exchange {exchange}"))?;
        connection.close().await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_exchange(place).await
    }
}

impl PubSub for RabbitMq {
    const FILTERS: &'static [FilterKind] = pubsub::rabbitmq::RabbitMq::FILTERS;
    type Publisher = ConfirmingPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<ConfirmingPublisher> {
        // Delivery mode 2: persistent.
        let mode = amqp::delivery_mode(self.place.knob(DELIVERY_MODE))?;
        let properties = BasicProperties::default().with_delivery_mode(mode);
        let connection = AmqpConnection::open(&self.place).await?;
        // From now on, RabbitMQ confirms what is published on this channel.
        let select = connection.channel.confirm_select(ConfirmSelectOptions::default());
        select.await.context("RabbitMQ will not confirm")?;
        let exchange = self.place.name();
        Ok(ConfirmingPublisher { connection, exchange, properties, in_flight: amqp::window() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        TopicSubscriber::join(&self.place, filter).await
    }
}

impl DurablePubSub for RabbitMq {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let connection = AmqpConnection::open(&self.place).await?;
        let (channel, queue) = (&connection.channel, self.queue_of(id));
        // The first to come under this identifier creates the queue; later it is there already.
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let declare = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        declare.await.with_context(|| format!("cannot declare the queue {queue}"))?;
        // In a binding of a topic exchange, `*` is any one word, and `#` any number of words.
        let binding = match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        };
        let (exchange, options) = (self.place.name(), QueueBindOptions::default());
        let bind = channel.queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            binding.into(),
            options,
            FieldTable::default(),
        );
        bind.await.with_context(|| format!("cannot bind {filter}"))?;
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX);
        let queue = QueueConsumer::join(connection, &queue, prefetch).await?;
        Ok(DurableSubscriber { queue, topics: TopicReader::new(&self.place) })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        amqp::delete_queue(&self.place, &self.queue_of(id)).await
    }
}

impl RabbitMq {
    fn queue_of(&self, id: &str) -> String {
        format!("{}.{id}", self.place.name())
    }
}

/// Publishes with the topic as routing key; many events wait for their confirms at once.
pub struct ConfirmingPublisher {
    connection: AmqpConnection,
    exchange: String,
    properties: BasicProperties,
    in_flight: Window,
}

impl Publisher for ConfirmingPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.in_flight.room().await?;
        let (channel, bytes) = (self.connection.channel.clone(), body.len());
        let (exchange, key) = (ShortString::from(self.exchange.as_str()), ShortString::from(topic.as_str()));
        let properties = self.properties.clone();
        self.in_flight.put(bytes, async move {
            // Not mandatory: there may be nobody who wants a copy.
            let options = BasicPublishOptions::default();
            let publish = channel.basic_publish(exchange, key, options, &body, properties);
            let confirmation = publish.await.context("cannot publish")?;
            amqp::stored(confirmation.await.context("the message is not confirmed")?)
        })
    }

    /// Confirmed: every queue that wants an event has it, on disk if the queue is durable.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.close().await
    }
}

/// Consumes from the queue of its identifier, with the consumer of `queue/rabbitmq/mod.rs`:
/// `basic.qos`, `basic.consume`, `basic.ack`. A receipt is the delivery's tag.
pub struct DurableSubscriber {
    queue: QueueConsumer,
    topics: TopicReader,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Event, u64>>> {
        loop {
            let (delivery, attempt) = self.queue.delivery().await?;
            let receipt = delivery.delivery_tag;
            match self.topics.read(delivery.routing_key.as_str().as_bytes()) {
                Some(topic) => {
                    let item = Event { topic, body: delivery.data.into() };
                    return Ok(Some(Delivery { item, attempt, receipt }));
                }
                // Not an event: it would come again.
                None => self.ack(receipt).await?,
            }
        }
    }

    /// `basic.ack`, many deliveries with one frame.
    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.queue.ack(receipt).await
    }

    /// `basic.nack` with `requeue`.
    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.queue.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.queue.flush().await
    }

    /// What was delivered here and not acked goes back to the queue.
    async fn close(self) -> Result<()> {
        self.queue.close().await
    }
}
