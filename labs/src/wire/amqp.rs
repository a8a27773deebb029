//! What the RabbitMQ labs share: a connection, publishing with many messages
//! on their way, and which acks settle many deliveries with one frame.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
};

use crate::lab::Place;
use crate::topic::Filter;
use crate::wire::window::Window;

/// Messages on their way at once. Awaiting each before the next would measure
/// how fast two threads wake each other: the client writes on one of its own.
const ON_THEIR_WAY: usize = 1024;
/// And at most this much of them, however few they are.
const BYTES_ON_THEIR_WAY: usize = 4 * 1024 * 1024;

/// A connection with one channel on it. RabbitMQ holds back a connection that
/// publishes too fast, acks and all, so every end of a lab has its own.
pub(crate) struct Link {
    pub(crate) channel: Rc<Channel>,
    connection: Connection,
}

impl Link {
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        let url = place.url()?;
        let properties = ConnectionProperties::default().with_connection_name(place.role().into());
        let connection = Connection::connect(url, properties)
            .await
            .with_context(|| format!("cannot connect to RabbitMQ at {url}"))?;
        let channel = Rc::new(connection.create_channel().await.context("cannot open a channel")?);
        Ok(Self { channel, connection })
    }

    /// Declares a queue; whoever comes first makes it. A durable queue
    /// survives a restart of the broker, its persistent messages with it.
    pub(crate) async fn declare(&self, queue: &str, durable: bool) -> Result<()> {
        let options = QueueDeclareOptions { durable, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        declared.with_context(|| format!("cannot declare the queue {queue}"))?;
        Ok(())
    }

    /// Declares a topic exchange; whoever comes first makes it.
    pub(crate) async fn declare_topics(&self, exchange: &str, durable: bool) -> Result<()> {
        let options = ExchangeDeclareOptions { durable, ..Default::default() };
        let (kind, arguments) = (ExchangeKind::Topic, FieldTable::default());
        let declared = self.channel.exchange_declare(exchange.into(), kind, options, arguments).await;
        declared.with_context(|| format!("cannot declare the exchange {exchange}"))
    }

    /// From now on, what is published to the exchange and matches goes to the queue, too.
    pub(crate) async fn bind(&self, queue: &str, exchange: &str, filter: &Filter) -> Result<()> {
        let binding = match filter {
            Filter::Exact(topic) => topic.as_str(),
            Filter::Words(pattern) => pattern,
            _ => "#",
        };
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bind = self.channel.queue_bind(queue.into(), exchange.into(), binding.into(), options, arguments);
        bind.await.with_context(|| format!("cannot bind {filter}"))
    }

    /// Starts a consumer; live when this returns.
    pub(crate) async fn consume(&self, queue: &str, options: BasicConsumeOptions) -> Result<Consumer> {
        let consume = self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        consume.await.with_context(|| format!("cannot consume from {queue}"))
    }

    /// Returns when RabbitMQ has handled everything written on this channel
    /// before: a channel is served in order, and this asks for an answer.
    pub(crate) async fn barrier(&self) -> Result<()> {
        // The cheapest question there is: it concerns only consumers yet to come.
        self.channel.basic_qos(0, BasicQosOptions::default()).await.context("RabbitMQ did not answer")
    }

    /// Says good-bye: what was delivered here and not acked goes back.
    pub(crate) async fn close(self) -> Result<()> {
        self.channel.close(200, "done".into()).await.context("cannot close the channel")?;
        self.connection.close(200, "done".into()).await.context("cannot close the connection")
    }
}

/// Deletes a queue with what is in it; one that never was is no error to RabbitMQ.
pub(crate) async fn delete_queue(place: &Place, queue: &str) -> Result<()> {
    let link = Link::to(place).await?;
    let deleted = link.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
    deleted.with_context(|| format!("cannot delete the queue {queue}"))?;
    link.close().await
}

/// Deletes the exchange of a place; one that never was is no error to RabbitMQ.
pub(crate) async fn delete_exchange(place: &Place) -> Result<()> {
    let link = Link::to(place).await?;
    let delete = link.channel.exchange_delete(place.name().into(), ExchangeDeleteOptions::default());
    delete.await.context("cannot delete the exchange")?;
    link.close().await
}

/// The next delivery of a consumer; an error when there cannot be one any more.
pub(crate) async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let next = consumer.next().await;
    next.context("RabbitMQ has cancelled this consumer")?.context("lost the consumer")
}

/// Publishes to one exchange.
pub(crate) struct Outbox {
    link: Link,
    exchange: String,
    confirms: bool,
    on_their_way: Window,
}

impl Outbox {
    /// An outbox whose messages are gone when they are written.
    pub(crate) fn new(link: Link, exchange: String) -> Self {
        Self { link, exchange, confirms: false, on_their_way: window() }
    }

    /// An outbox whose messages are on their way until RabbitMQ has confirmed them.
    pub(crate) async fn confirming(link: Link, exchange: String) -> Result<Self> {
        confirm(&link.channel).await?;
        Ok(Self { confirms: true, ..Self::new(link, exchange) })
    }

    pub(crate) async fn publish(
        &mut self,
        key: &str,
        body: Bytes,
        properties: BasicProperties,
    ) -> Result<()> {
        self.on_their_way.room().await?;
        let (channel, exchange, key) = (self.link.channel.clone(), self.exchange.as_str().into(), key.into());
        let (bytes, confirms) = (body.len(), self.confirms);
        self.on_their_way.put(bytes, async move {
            if confirms {
                publish_confirmed(&channel, exchange, key, &body, properties).await
            } else {
                let options = BasicPublishOptions::default();
                let published = channel.basic_publish(exchange, key, options, &body, properties).await;
                // Without confirms there is nothing more to wait for.
                published.map(drop).context("cannot publish")
            }
        })
    }

    /// Everything published is confirmed, or, without confirms, has been
    /// handled by RabbitMQ, whatever came of it.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.on_their_way.drain().await?;
        if self.confirms { Ok(()) } else { self.link.barrier().await }
    }

    pub(crate) async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.link.close().await
    }
}

/// From now on, RabbitMQ confirms what is published on this channel.
pub(crate) async fn confirm(channel: &Channel) -> Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await.context("RabbitMQ will not confirm")
}

/// Publishes. Returns when RabbitMQ has confirmed the message. Through the
/// default exchange, which has the empty name and knows queues by theirs, a
/// message that has no queue to go to is an error (`mandatory`), not a loss; a
/// topic exchange may have nobody to copy it for.
pub(crate) async fn publish_confirmed(
    channel: &Channel,
    exchange: ShortString,
    key: ShortString,
    body: &[u8],
    properties: BasicProperties,
) -> Result<()> {
    let options = BasicPublishOptions { mandatory: exchange.as_str().is_empty(), ..Default::default() };
    let written =
        channel.basic_publish(exchange, key, options, body, properties).await.context("cannot publish")?;
    stored(written.await.context("the message is not confirmed")?)
}

/// What a confirmation says: an ack means that the queues that want the message have it. A
/// mandatory message without a queue comes back with its ack.
pub(crate) fn stored(confirmation: Confirmation) -> Result<()> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => bail!("RabbitMQ returned the message: its queue is gone"),
        Confirmation::Nack(_) | Confirmation::NotRequested => bail!("RabbitMQ did not take the message"),
    }
}

/// How often a message was delivered, with this time. A quorum queue counts
/// what came back; a classic one only flags it: 2 stands for two or more.
pub(crate) fn attempt(delivery: &Delivery) -> u32 {
    let headers = delivery.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let count = count.and_then(AMQPValue::as_long_long_int).and_then(|count| u32::try_from(count).ok());
    count.unwrap_or(u32::from(delivery.redelivered)) + 1
}

/// Which deliveries of a channel are settled, and which acks say so in the fewest frames: one
/// acks all that came before the first unsettled delivery, and what was settled out of order
/// has one each.
pub(crate) struct Acks {
    /// Every delivery up to this tag is settled, and RabbitMQ knows.
    settled: u64,
    /// Later ones that are settled, and whether RabbitMQ knows.
    later: BTreeMap<u64, bool>,
    untold: usize,
    batch: usize,
}

impl Acks {
    /// For a consumer that holds at most `prefetch` deliveries unsettled. Half of them share
    /// a frame: RabbitMQ delivers on while acks are on their way.
    pub(crate) fn of(prefetch: u16) -> Self {
        let batch = (usize::from(prefetch) / 2).clamp(1, 128);
        Self { settled: 0, later: BTreeMap::new(), untold: 0, batch }
    }

    /// A delivery is done with. True if so many are that RabbitMQ should be told.
    pub(crate) fn settle(&mut self, tag: u64) -> bool {
        self.later.insert(tag, false);
        self.untold += 1;
        self.untold >= self.batch
    }

    /// A delivery is settled, and RabbitMQ is told apart.
    pub(crate) fn is_told(&mut self, tag: u64) {
        self.later.insert(tag, true);
    }

    /// The acks that tell RabbitMQ all it does not know, as tag and `multiple`.
    pub(crate) fn due(&mut self) -> Vec<(u64, bool)> {
        let mut all_up_to = None;
        while let Some(known) = self.later.remove(&(self.settled + 1)) {
            self.settled += 1;
            // The frame must name a tag that is still open.
            all_up_to = if known { all_up_to } else { Some(self.settled) };
        }
        let mut acks: Vec<(u64, bool)> = all_up_to.map(|tag| (tag, true)).into_iter().collect();
        if self.untold > 0 {
            for (tag, known) in self.later.iter_mut().filter(|(_, known)| !**known) {
                *known = true;
                acks.push((*tag, false));
            }
        }
        self.untold = 0;
        acks
    }
}

/// A window for what is on its way to RabbitMQ.
pub(crate) const fn window() -> Window {
    Window::new(ON_THEIR_WAY, BYTES_ON_THEIR_WAY)
}
