//! Durable subscribers over STOMP: SUBSCRIBE to `/topic/PATTERN` with
//! `durable:true`, `auto-delete:false` and a queue name made of the place's and
//! the subscriber's. RabbitMQ binds that queue, keeps it when the subscriber
//! goes, and puts events into it meanwhile.
//!
//! Events are persistent and each has its receipt; the subscriber acks each.
//! Promises: what is confirmed comes to every known subscriber, in order, and
//! survives kill -9 of the broker; some may come twice, marked. To forget one
//! is to subscribe as it and to UNSUBSCRIBE with `durable:true`. STOMP can
//! neither unbind nor keep a second away: who comes back with another filter
//! hears what either matches, and two under one name share the events.
//!
//! Run it: `just lab durable-stomp`. Watch it: `rabbitmqctl list_queues name messages durable`.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::pubsub::stomp::{self as topics, Events, TopicSubscriber};
use crate::pubsub::{Event, PubSub, Publisher};
use crate::queue::stomp::marks;
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, MAX_LEN, Topic};
use crate::wire::stomp::Command;
use crate::wire::stomp::inbox::Inbox;
use crate::wire::stomp::link;
use crate::wire::stomp::outbox::Outbox;

const PREFETCH: Knob = Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled.");
const PERSISTENT: Knob = Knob::new(
    "persistent",
    1,
    "1: an event is written to disk; 0: it may stay in memory, and be lost with it.",
);

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
        let (outbox, topics) = (Outbox::to(&self.place).await?, link::topics(&self.place));
        Ok(ConfirmedPublisher { outbox, topics, persistent })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        topics::Stomp::open(&self.place).await?.subscriber(filter).await
    }
}

impl DurablePubSub for Stomp {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX);
        let inbox = self.join(id, &topics::pattern(&self.place, filter)?, prefetch).await?;
        Ok(DurableSubscriber { inbox, events: Events::of(&self.place) })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        // RabbitMQ deletes the queue of a subscription of this connection only.
        let nothing = topics::destination(&link::topics(&self.place), "~")?;
        let mut inbox = self.join(id, &nothing, 1).await?;
        let queue = queue(&self.place, id)?;
        match inbox.unsubscribe(&[("id", id), ("durable", "true"), ("x-queue-name", &queue)]).await {
            // Its queue was about to go as it was joined, and took the subscription with it.
            Err(gone) if format!("{gone:#}").contains("Subscription not found") => Ok(()),
            Err(other) => Err(other),
            Ok(()) => inbox.close().await,
        }
    }
}

impl Stomp {
    async fn join(&self, id: &str, destination: &str, prefetch: u16) -> Result<Inbox> {
        let queue = queue(&self.place, id)?;
        let headers = [
            ("destination", destination),
            ("id", id),
            ("x-queue-name", &queue),
            ("durable", "true"),
            ("auto-delete", "false"),
        ];
        let inbox = Inbox::with_acks(&self.place, &headers, prefetch).await;
        inbox.with_context(|| format!("cannot join as `{id}`"))
    }
}

/// Where the events of a subscriber wait.
fn queue(place: &Place, id: &str) -> Result<String> {
    let name = format!("{}.{id}", place.name());
    // The plugin takes a message's `ack` header to pieces at this mark.
    ensure!(!id.is_empty() && !id.contains("@@"), "`{id}` is no name for a subscriber");
    ensure!(name.len() <= MAX_LEN, "`{id}` is too long a name for a subscriber");
    Ok(name)
}

/// Publishes with the topic as routing key, and wants a receipt for each event.
pub struct ConfirmedPublisher {
    outbox: Outbox,
    topics: String,
    persistent: bool,
}

impl Publisher for ConfirmedPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let destination = topics::destination(&self.topics, topic.as_str())?;
        let headers = [("destination", destination.as_str()), ("persistent", "true")];
        let headers = if self.persistent { &headers[..] } else { &headers[..1] };
        self.outbox.send_with_receipt(headers, body).await
    }

    /// Confirmed: on disk, for every durable subscriber there is.
    async fn flush(&mut self) -> Result<()> {
        self.outbox.flush().await
    }

    async fn close(self) -> Result<()> {
        self.outbox.close().await
    }
}

/// Consumes from its queue; a receipt is the MESSAGE's `ack` header.
pub struct DurableSubscriber {
    inbox: Inbox,
    events: Events,
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Event, String>>> {
        let message = self.inbox.next().await?;
        let (attempt, receipt) = marks(&message)?;
        Ok(Some(Delivery { item: self.events.read(&message)?, attempt, receipt }))
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.inbox.settle(Command::Ack, receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.inbox.settle(Command::Nack, receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.inbox.flush().await
    }

    /// What was not acked stays in the queue, and so does the queue.
    async fn close(self) -> Result<()> {
        self.inbox.close().await
    }
}
