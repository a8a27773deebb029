//! Publish/subscribe over JetStream: a stream stores what is published below the place's subject,
//! and every subscriber has a consumer in it, a cursor that starts at what comes next and goes when
//! the subscriber does.
//!
//! Wire: an event is published to `PLACE.TOPIC` with an inbox, to which JetStream replies. A
//! subscriber asks for as many events as it has room for (`PUB $JS.API.CONSUMER.MSG.NEXT.…`,
//! `{"batch":N}`) and acknowledges none; an event is deleted when every consumer has got it. Events
//! come in the order of the stream.
//!
//! Confirms: an event for the stream, not for a subscriber: the reply to the inbox says that it is
//! in the stream's file, and `flush` waits for all replies. `subscriber` returns when its consumer
//! is there, and misses nothing from then on.
//!
//! Survives: a slow subscriber: it lags behind in the store, and loses nothing. The death of a
//! publisher or a subscriber: the others go on. After a cut connection or a restart of NATS, the
//! recovery layer (`labs/src/recovery/`) connects and joins again; for the events, see Loses.
//!
//! Loses: what is published while nobody listens; what a subscriber had not got when its connection
//! was cut, or when it or NATS died, because it joins again with a new consumer, which starts at
//! what comes next; what a publisher had not flushed then. `durable-jetstream` keeps events for a
//! subscriber that is away. Events beyond `high-water`, if that is set below `ahead`: the client
//! drops them.
//!
//! Run it: `just lab pubsub-jetstream`. Watch it: `nats consumer report`.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use async_nats::Subject;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::nats::jetstream::{self, JetStreamConnection, JetStreamDelivery, PullWindow};
use crate::wire::nats::subjects::{EventReader, FILTERS, TopicSubjects, filter_subject};
use crate::wire::nats::{self, NatsConnection};
use crate::wire::window::Window;

pub(crate) const AHEAD: Knob = Knob::new("ahead", 2048, "Events asked for and not yet taken.");

/// A stream of events, each kept until every consumer has got it.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[AHEAD, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        let js = JetStreamConnection::connect(place).await?;
        let events = stream::Config {
            name: js.stream.clone(),
            subjects: vec![filter_subject(place, &Filter::All)],
            // An event that no consumer waits for is not kept.
            retention: RetentionPolicy::Interest,
            storage: StorageType::File,
            ..Default::default()
        };
        js.create_stream(events).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        jetstream::delete_stream(place).await
    }
}

impl PubSub for JetStream {
    const FILTERS: &'static [FilterKind] = FILTERS;
    type Publisher = StreamPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<StreamPublisher> {
        let js = Rc::new(JetStreamConnection::connect(&self.place).await?);
        let subjects = TopicSubjects::new(&self.place);
        Ok(StreamPublisher { js, subjects, in_flight: jetstream::window() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let js = JetStreamConnection::connect(&self.place).await?;
        let from_now = pull::Config {
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            filter_subject: filter_subject(&self.place, filter),
            ..Default::default()
        };
        // Without a durable name: JetStream gives it a name, and deletes it when nobody asks it
        // for deliveries any more.
        let create = js.context.create_consumer_on_stream(from_now, &js.stream);
        let consumer = js.nats.unless_lost(create).await.context("cannot create the consumer")?;
        let inbox = Subject::from(js.nats.client.new_inbox());
        let subscribe = js.nats.client.subscribe(inbox.clone());
        let deliveries = subscribe.await.with_context(|| format!("cannot subscribe to {inbox}"))?;
        // NATS does not answer SUB: a round trip behind it says that it is in force.
        js.nats.round_trip().await?;
        let name = &consumer.cached_info().name;
        Ok(StreamSubscriber {
            requests: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", js.stream).into(),
            nats: js.nats,
            inbox,
            deliveries,
            window: PullWindow::new(self.place.knob(AHEAD)),
            events: EventReader::new(&self.place),
            place: self.place.clone(),
            seen: 0,
        })
    }
}

/// Publishes into the stream, with many events on their way to be confirmed.
pub struct StreamPublisher {
    js: Rc<JetStreamConnection>,
    subjects: TopicSubjects,
    in_flight: Window,
}

impl Publisher for StreamPublisher {
    /// Accepted: handed over to the client, and the confirmation is not awaited here.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let subject = self.subjects.subject(topic);
        self.in_flight.room().await?;
        let (js, size) = (Rc::clone(&self.js), body.len());
        self.in_flight.put(size, async move {
            let confirmed = async { js.context.publish(subject, body).await?.await };
            js.nats.unless_lost(confirmed).await.map(drop).context("the message is not confirmed")
        })
    }

    /// More than written: JetStream has confirmed all of it.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// Pulls from its own consumer.
pub struct StreamSubscriber {
    nats: NatsConnection,
    /// Where JetStream is asked for deliveries.
    requests: Subject,
    /// Where it sends them.
    inbox: Subject,
    deliveries: async_nats::Subscriber,
    window: PullWindow,
    events: EventReader,
    place: Place,
    /// Deliveries are numbered: one that is missing would be noticed.
    seen: u64,
}

impl Subscriber for StreamSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            // JetStream sends only what it is asked for.
            if let Some(batch) = self.window.due() {
                let (requests, inbox) = (self.requests.clone(), self.inbox.clone());
                let body = Bytes::from(format!("{{\"batch\":{batch}}}"));
                let request = self.nats.client.publish_with_reply(requests, inbox, body);
                self.nats.unless_lost(request).await?;
                self.window.requested(batch);
            }
            let message = self.nats.next(&mut self.deliveries).await?;
            let Some(delivery) = JetStreamDelivery::read(message, &self.place)? else { continue };
            self.window.arrived();
            self.seen += 1;
            let number = delivery.consumer_sequence;
            ensure!(number == self.seen, "delivery {number} came where {} was due", self.seen);
            // Anybody can publish below the place's subject: what is not an event is skipped.
            if let Some(event) = self.events.read(delivery.message) {
                return Ok(Some(event));
            }
        }
    }
}
