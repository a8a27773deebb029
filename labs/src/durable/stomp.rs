//! Durable subscribers over STOMP: RabbitMQ's exchange `amq.topic`, and for each identifier a queue
//! that stays when the subscriber goes.
//!
//! Wire: events are SEND frames with `persistent:true` and `receipt`. A subscriber writes SUBSCRIBE
//! to `/topic/PATTERN` with `durable:true`, `auto-delete:false` and a queue name made of the
//! place's name and its identifier (`x-queue-name`); RabbitMQ binds that queue to the exchange. The
//! subscriber acks each MESSAGE (ACK). STOMP cannot unbind: one that comes back with another filter
//! gets what either filter matches. To forget a subscriber, the lab subscribes under its identifier
//! and then writes UNSUBSCRIBE with `durable:true`.
//!
//! Confirms: an event with a RECEIPT frame of its own: it is on disk, unless `persistent` is 0, for
//! every durable subscriber that wants it. `flush` waits for all RECEIPT frames.
//!
//! Survives: kill -9 of a subscriber: what it had not acked comes again, marked. Kill -9 of
//! RabbitMQ: confirmed events are on disk. An absence of any length: RabbitMQ puts events into the
//! subscriber's queue meanwhile, on disk, until it is forgotten. A cut connection loses nothing:
//! the recovery layer (`labs/src/recovery/`) connects and joins again, and what was not flushed or
//! not acked is sent again, and may come twice. After a restart of RabbitMQ the roles join again,
//! too.
//!
//! Loses: events that were not confirmed when the publisher died. STOMP cannot refuse a second
//! subscriber under an identifier: the two share the events, and each misses those of the other.
//!
//! Run it: `just lab durable-stomp`. Watch it: `rabbitmqctl list_queues name messages durable`.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::stomp::{self as topics, EventReader, TopicSubscriber};
use crate::pubsub::{Event, PubSub, Publisher};
use crate::queue::stomp::attempt_and_receipt;
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, MAX_LEN, Topic};
use crate::wire::stomp::{self, Command, ConsumerConnection, ProducerConnection};

const PREFETCH: Knob = Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled.");
const PERSISTENT: Knob = Knob::new(
    "persistent",
    1,
    "1: an event is written to disk; 0: it may stay in memory, and be lost with it.",
)
.weaker_at(0, Guarantee::AtLeastOnce);

/// A queue for every durable subscriber, bound to `amq.topic`.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH, PERSISTENT];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Durable subscribers are forgotten one by one, and nothing else stays.
    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Stomp {
    const FILTERS: &'static [FilterKind] = topics::Stomp::FILTERS;
    type Publisher = ConfirmedPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<ConfirmedPublisher> {
        let persistent = self.place.knob(PERSISTENT) > 0;
        let connection = ProducerConnection::open(&self.place).await?;
        Ok(ConfirmedPublisher { connection, topics: stomp::topics(&self.place), persistent })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        topics::Stomp::open(&self.place).await?.subscriber(filter).await
    }
}

impl DurablePubSub for Stomp {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX);
        let connection = self.join(id, &topics::pattern(&self.place, filter)?, prefetch).await?;
        Ok(DurableSubscriber { connection, events: EventReader::of(&self.place) })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        // A connection can only unsubscribe, and so delete a durable queue, where it has subscribed
        // itself. So it subscribes first, to `~`: no topic has this character, so this adds no event.
        let nothing = topics::destination(&stomp::topics(&self.place), "~")?;
        let mut connection = self.join(id, &nothing, 1).await?;
        let queue = queue(&self.place, id)?;
        let unsubscribe = [("id", id), ("durable", "true"), ("x-queue-name", queue.as_str())];
        match connection.request(Command::Unsubscribe, &unsubscribe).await {
            // Its queue was being deleted when we subscribed, and took the subscription with it.
            Err(gone) if format!("{gone:#}").contains("Subscription not found") => Ok(()),
            Err(other) => Err(other),
            Ok(()) => connection.close().await,
        }
    }
}

impl Stomp {
    /// Subscribes under an identifier; live when RabbitMQ has sent the RECEIPT frame.
    async fn join(&self, id: &str, destination: &str, prefetch: u16) -> Result<ConsumerConnection> {
        let prefetch = prefetch.max(1);
        let (queue, count) = (queue(&self.place, id)?, prefetch.to_string());
        let subscribe = [
            ("destination", destination),
            ("id", id),
            ("x-queue-name", &queue),
            ("durable", "true"),
            ("auto-delete", "false"),
            ("ack", "client-individual"),
            ("prefetch-count", &count),
        ];
        let context = || format!("cannot join as `{id}`");
        let mut connection = ConsumerConnection::open(&self.place, prefetch).await.with_context(context)?;
        connection.request(Command::Subscribe, &subscribe).await.with_context(context)?;
        Ok(connection)
    }
}

/// The name of a subscriber's queue.
fn queue(place: &Place, id: &str) -> Result<String> {
    let name = format!("{}.{id}", place.name());
    // RabbitMQ's STOMP plugin splits a message's `ack` header at `@@`.
    ensure!(!id.is_empty() && !id.contains("@@"), "`{id}` cannot be the name of a subscriber");
    ensure!(name.len() <= MAX_LEN, "`{id}` is too long a name for a subscriber");
    Ok(name)
}

/// Publishes with the topic as routing key, and wants a RECEIPT frame for each event.
pub struct ConfirmedPublisher {
    connection: ProducerConnection,
    topics: String,
    persistent: bool,
}

impl Publisher for ConfirmedPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let destination = topics::destination(&self.topics, topic.as_str())?;
        let headers = [("destination", destination.as_str()), ("persistent", "true")];
        let headers = if self.persistent { &headers[..] } else { &headers[..1] };
        self.connection.room_in_flight().await?;
        self.connection.put_in_flight(Command::Send, headers, &body)
    }

    /// Confirmed: on disk (unless `persistent` is 0), for every durable subscriber there is.
    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}

/// Consumes from its queue; a receipt is the MESSAGE's `ack` header.
pub struct DurableSubscriber {
    connection: ConsumerConnection,
    events: EventReader,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Event, String>>> {
        loop {
            let message = self.connection.next().await?;
            let (attempt, receipt) = attempt_and_receipt(&message)?;
            match self.events.read(&message) {
                Some(item) => return Ok(Some(Delivery { item, attempt, receipt })),
                // Not an event: it would come again.
                None => self.ack(receipt).await?,
            }
        }
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Ack, receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.connection.settle(Command::Nack, receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.connection.flush().await
    }

    /// What was not acked stays in the queue, and so does the queue.
    async fn close(self) -> Result<()> {
        self.connection.close().await
    }
}
