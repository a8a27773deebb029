//! AMQP 0-9-1, as the labs over RabbitMQ use it through the crate lapin.
//!
//! The labs call lapin's channel themselves: declare, bind, publish, consume
//! and ack stand in each lab's file. Here is what is the same for all of them:
//!
//! - [`AmqpConnection`]: one connection with one channel, how to close it, and
//!   a barrier that returns when RabbitMQ has handled what was written before.
//! - [`window`]: how many publishes may be in flight at once.
//! - [`next`], [`stored`], [`attempt`]: how to read a delivery and a confirmation; [`delivery_mode`].
//! - [`Acks`]: which `basic.ack` frames settle many deliveries at once.
//! - [`declare_queue`], [`delete_queue`], [`delete_exchange`]: how a lab removes what it made. The
//!   STOMP labs use them as well, because STOMP cannot delete a queue.
//!
//! It promises nothing of its own: without `confirm_select` a publish is only
//! written, and without acks RabbitMQ forgets a delivery when it is written.
//!
//! Used by every `*-rabbitmq` lab, every `*-stomp` lab, and the bridge.
//!
//! The protocol: *AMQP 0-9-1*, sections 2.3 (framing) and 3.1 (exchanges and
//! queues); RabbitMQ's page *Consumer Acknowledgements and Publisher Confirms*.

mod acks;

use std::rc::Rc;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicQosOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use crate::lab::Place;
use crate::queue::Depth;
use crate::recovery::{Disconnected, disconnected};
use crate::wire::window::Window;
pub(crate) use acks::Acks;

/// Publishes in flight at once. lapin writes on a thread of its own: whoever awaits each
/// publish before the next measures how fast two threads wake each other.
const IN_FLIGHT: usize = 1024;
/// And at most so many bytes of them.
const BYTES_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// Both sides send a frame at least this often, seconds, when there is nothing else to send. A link
/// that is silent for two of them counts as lost.
const HEARTBEAT: u16 = 4;

/// A connection with one channel on it. RabbitMQ stops reading from a connection that
/// publishes too fast, its acks included, so every end of a lab has its own.
pub(crate) struct AmqpConnection {
    pub(crate) channel: Rc<Channel>,
    /// Where it counts the messages that it skips.
    pub(crate) place: Place,
    connection: Connection,
}

impl AmqpConnection {
    /// Connects to the broker of this place, and opens the channel.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        let address = place.broker()?;
        let properties = ConnectionProperties::default().with_connection_name(place.role().into());
        let mut uri = address.amqp_uri()?;
        // One that the user has set in the address stays.
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let connection = Connection::connect_uri(uri, properties)
            .await
            .with_context(|| format!("cannot connect to RabbitMQ at {address}"))?;
        let channel = Rc::new(connection.create_channel().await.context("cannot open a channel")?);
        Ok(Self { channel, place: place.clone(), connection })
    }

    /// Another channel on the same connection, on which RabbitMQ confirms what is published.
    pub(crate) async fn confirming_channel(&self) -> Result<Rc<Channel>> {
        let channel = self.connection.create_channel().await.context("cannot open a channel")?;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        select.await.context("RabbitMQ will not confirm")?;
        Ok(Rc::new(channel))
    }

    /// Returns when RabbitMQ has handled everything that was written on this channel before:
    /// it serves a channel in order, and this method asks for an answer.
    pub(crate) async fn barrier(&self) -> Result<()> {
        // The cheapest question: it sets the prefetch of consumers that are started later.
        self.channel.basic_qos(0, BasicQosOptions::default()).await.context("RabbitMQ did not answer")
    }

    /// Closes the channel and the connection. What was delivered here and not acked goes back.
    pub(crate) async fn close(self) -> Result<()> {
        self.channel.close(200, "done".into()).await.context("cannot close the channel")?;
        self.connection.close(200, "done".into()).await.context("cannot close the connection")
    }
}

/// The window of what is in flight to RabbitMQ.
pub(crate) const fn window() -> Window {
    Window::new(IN_FLIGHT, BYTES_IN_FLIGHT)
}

/// The next delivery of a consumer; an error when there cannot be another one.
pub(crate) async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let next = consumer.next().await;
    next.context(Disconnected::new("RabbitMQ has cancelled this consumer"))?
        .context("lost the connection to RabbitMQ")
}

/// An error unless the message is stored: an ack says that every queue that wants the message
/// has it. A mandatory message that no queue wants comes back together with its ack.
pub(crate) fn stored(confirmation: Confirmation) -> Result<()> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        // The queue is declared anew when the connection is.
        Confirmation::Ack(Some(_)) => {
            Err(disconnected("RabbitMQ returned the message: its queue is gone, or not there yet"))
        }
        // A quorum queue without a leader, say.
        Confirmation::Nack(_) => Err(disconnected("RabbitMQ did not take the message")),
        Confirmation::NotRequested => bail!("RabbitMQ did not take the message"),
    }
}

/// The header in which a quorum queue counts the deliveries that have failed. Where the queue is a
/// classic one, the lab that publishes a message again writes it.
pub(crate) const DELIVERY_COUNT: &str = "x-delivery-count";

/// How often a message was delivered, this time included. A quorum queue counts deliveries; a
/// classic queue only flags a redelivery, for which 2 stands for two or more. `None` where the
/// header is not a count: a publisher can set it to anything.
pub(crate) fn attempt(delivery: &Delivery) -> Option<u32> {
    let headers = delivery.properties.headers().as_ref();
    let before = match headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT)) {
        Some(count) => u32::try_from(count.as_long_long_int()?).ok()?,
        None => u32::from(delivery.redelivered),
    };
    before.checked_add(1)
}

/// AMQP's delivery mode. RabbitMQ would take every other number for a message that is not written.
pub(crate) fn delivery_mode(number: usize) -> Result<u8> {
    match number {
        1 => Ok(1),
        2 => Ok(2),
        other => bail!("the delivery mode {other} does not exist; give 1 or 2"),
    }
}

/// Declares a durable queue: the first to declare it creates it. It survives a restart of the
/// broker, and so do its persistent messages.
pub(crate) async fn declare_queue(channel: &Channel, queue: &str, arguments: FieldTable) -> Result<()> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(queue.into(), options, arguments).await;
    declared.map(drop).with_context(|| format!("cannot declare the queue {queue}"))
}

/// How many messages of the place's queue are ready, by a passive declaration, which changes nothing.
pub(crate) async fn depth(place: &Place) -> Result<Depth> {
    let connection = AmqpConnection::open(place).await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared =
        connection.channel.queue_declare(place.name().as_str().into(), options, FieldTable::default()).await;
    let count = declared.context("the queue cannot be asked")?.message_count();
    connection.close().await?;
    Ok(Depth { count: count.into(), asked: "passive declare: messages that no consumer holds" })
}

/// Deletes a queue and the messages in it. RabbitMQ reports no error if the queue never existed.
pub(crate) async fn delete_queue(place: &Place, queue: &str) -> Result<()> {
    let connection = AmqpConnection::open(place).await?;
    let deleted = connection.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
    deleted.with_context(|| format!("cannot delete the queue {queue}"))?;
    connection.close().await
}

/// Deletes the exchange of a place. RabbitMQ reports no error if it never existed.
pub(crate) async fn delete_exchange(place: &Place) -> Result<()> {
    let connection = AmqpConnection::open(place).await?;
    let delete = connection.channel.exchange_delete(place.name().into(), ExchangeDeleteOptions::default());
    delete.await.context("cannot delete the exchange")?;
    connection.close().await
}
