//! Durable subscribers over JetStream: the stream of `pubsub/jetstream.rs`, and in it a durable consumer for
//! every identifier, a cursor that stays where it is while its subscriber is away.
//!
//! Wire: publishers are those of `pubsub/jetstream.rs`: they publish to `PLACE.TOPIC` with an inbox, to which
//! JetStream replies. A durable subscriber asks for as many events as it may still hold
//! (`PUB $JS.API.CONSUMER.MSG.NEXT.…`, `{"batch":N}`) and publishes `+ACK` or `-NAK` to the reply subject of
//! each. It gets its events in order, and an event is kept until every consumer has acknowledged it.
//!
//! Confirms: an event when it is in the stream's file, which the reply to the inbox says; `flush` waits for
//! all replies.
//!
//! Survives: kill -9 of a subscriber. JetStream would deliver again what it held only after `claim-ms`,
//! behind newer events; so a subscriber that comes back under the identifier first publishes `-NAK` for it.
//! Kill -9 of NATS: confirmed events are in the stream's file. An absence of any length: all events since
//! then stay in that file, until the subscriber is forgotten. A cut connection loses nothing: the recovery
//! layer (`labs/src/recovery/`) connects and joins again, and what was not flushed or not acked is sent
//! again, and may come twice. After a restart of NATS the roles join again, too.
//!
//! Loses: events that were not confirmed when the publisher died; with a power cut, what was written since
//! the file was last synced. An event also comes again if it is not acknowledged within `claim-ms` of its
//! delivery: waiting in the consumer behind others counts, and the lab never extends the time. Deliveries
//! beyond `high-water`, if that is set below `prefetch`: the client drops them, and they come again likewise.
//!
//! Run it: `just lab durable-jetstream`. Watch it: `nats consumer report`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::Subject;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{AckKind, ErrorCode};
use bytes::Bytes;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::jetstream::{AHEAD, JetStream as Stream, StreamPublisher, StreamSubscriber};
use crate::pubsub::{Event, PubSub};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind};
use crate::wire::nats::jetstream::{JetStreamConnection, JetStreamDelivery, PullWindow};
use crate::wire::nats::subjects::{EventReader, filter_subject};
use crate::wire::nats::{self, NatsConnection};

const PREFETCH: Knob = Knob::new(
    "prefetch",
    1024,
    "Events a subscriber may hold unsettled; more of them hide the wait for each ack.",
);
const CLAIM_MS: Knob =
    Knob::new("claim-ms", 30_000, "Milliseconds after which an unsettled event is delivered again.");

/// A stream with cursors that stay.
pub struct JetStream {
    place: Place,
    stream: Stream,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = Stream::TRANSPORT;
    const BROKER: Option<Broker> = Stream::BROKER;
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Stream::OVERLOAD;
    const JOIN: Join = Stream::JOIN;
    const RECOVERY: Recovery = Stream::RECOVERY;
    const KNOBS: &'static [Knob] = &[PREFETCH, CLAIM_MS, AHEAD, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), stream: Stream::open(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        Stream::remove(place).await
    }
}

impl PubSub for JetStream {
    const FILTERS: &'static [FilterKind] = Stream::FILTERS;
    type Publisher = StreamPublisher;
    type Subscriber = StreamSubscriber;

    async fn publisher(&self) -> Result<StreamPublisher> {
        self.stream.publisher().await
    }

    async fn subscriber(&self, filter: &Filter) -> Result<StreamSubscriber> {
        self.stream.subscriber(filter).await
    }
}

impl DurablePubSub for JetStream {
    type Durable = DurableSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<DurableSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let js = JetStreamConnection::connect(&self.place).await?;
        let name = consumer_name(id);
        let cursor = pull::Config {
            durable_name: Some(name.clone()),
            // From the first time on.
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(self.place.knob(CLAIM_MS) as u64),
            max_ack_pending: -1,
            filter_subject: filter_subject(&self.place, filter),
            ..Default::default()
        };
        let found = find_or_create(&js, &name, cursor).await?;
        nak_for_predecessor(&js, &found).await?;
        let inbox = Subject::from(js.nats.client.new_inbox());
        let subscribe = js.nats.client.subscribe(inbox.clone());
        let deliveries = subscribe.await.with_context(|| format!("cannot subscribe to {inbox}"))?;
        // NATS does not answer SUB: a round trip behind it says that it is in force.
        js.nats.round_trip().await?;
        Ok(DurableSubscriber {
            requests: format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", js.stream).into(),
            nats: js.nats,
            inbox,
            deliveries,
            window: PullWindow::new(self.place.knob(PREFETCH)),
            events: EventReader::new(&self.place),
            place: self.place.clone(),
        })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        let (js, name) = (JetStreamConnection::connect(&self.place).await?, consumer_name(id));
        match js.context.delete_consumer_from_stream(&name, &js.stream).await {
            Err(error) if is_absent(error.kind()) => Ok(()),
            deleted => deleted.map(drop).with_context(|| format!("cannot delete the consumer {name}")),
        }
    }
}

/// The name of an identifier's consumer: characters that mean something in a subject are
/// replaced by their numbers.
fn consumer_name(id: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    id.chars().map(|c| if plain(c) { c.to_string() } else { format!("_{:x}_", u32::from(c)) }).collect()
}

/// The durable consumer of this name, created if it is absent. It is an error if it is there
/// with another filter.
async fn find_or_create(
    js: &JetStreamConnection,
    name: &str,
    config: pull::Config,
) -> Result<consumer::Info> {
    match js.context.get_consumer_from_stream::<pull::Config, _, _>(name, &js.stream).await {
        Ok(found) => {
            let found = found.cached_info().clone();
            let (was, is) = (&found.config.filter_subject, &config.filter_subject);
            ensure!(was == is, "{name} subscribed to {was}, and not to {is}: forget it first");
            Ok(found)
        }
        Err(error) if is_absent(error.kind()) => {
            let create = js.context.create_consumer_on_stream(config, &js.stream);
            let created = js.nats.unless_lost(create).await.context("cannot create the consumer")?;
            Ok(created.cached_info().clone())
        }
        Err(error) => Err(error).context("cannot find the consumer"),
    }
}

fn is_absent(error: ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

/// Publishes `-NAK` for every event that the subscriber before us was sent and did not
/// acknowledge, perhaps because it died: they come again at once, and in order.
async fn nak_for_predecessor(js: &JetStreamConnection, consumer: &consumer::Info) -> Result<()> {
    let (acked, delivered) = (consumer.ack_floor.stream_sequence, consumer.delivered.stream_sequence);
    if consumer.num_ack_pending > 0 {
        // JetStream finds a delivery by its message's number in the stream, and ignores a -NAK
        // for one that was acknowledged in between.
        let order = consumer.delivered.consumer_sequence;
        for number in acked + 1..=delivered {
            let ack_subject = format!("$JS.ACK.{}.{}.1.{number}.{order}.0.0", js.stream, consumer.name);
            js.nats.hand_over(js.nats.client.publish(ack_subject, AckKind::Nak(None).into())).await?;
        }
    }
    Ok(())
}

/// Pulls from a durable consumer; a receipt is the event's number in the stream.
pub struct DurableSubscriber {
    nats: NatsConnection,
    /// Where JetStream is asked for deliveries.
    requests: Subject,
    /// Where it sends them.
    inbox: Subject,
    deliveries: async_nats::Subscriber,
    window: PullWindow,
    events: EventReader,
    place: Place,
}

impl DurableSubscriber {
    /// Accepts an ack or a nack; a delivery is settled once.
    async fn settle(&mut self, receipt: u64, how: AckKind) -> Result<()> {
        match self.window.settle(receipt) {
            Some(subject) => self.nats.hand_over(self.nats.client.publish(subject, how.into())).await,
            None => Ok(()),
        }
    }
}

impl Consumer for DurableSubscriber {
    type Item = Event;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Event, u64>>> {
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
            self.window.hold(&delivery)?;
            let (attempt, receipt) = (delivery.attempt, delivery.stream_sequence);
            match self.events.read(delivery.message) {
                Some(item) => return Ok(Some(Delivery { item, attempt, receipt })),
                // Not an event: it would come again.
                None => self.ack(receipt).await?,
            }
        }
    }

    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.settle(receipt, AckKind::Ack).await
    }

    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.settle(receipt, AckKind::Nak(None)).await
    }

    /// A round trip behind the acks: JetStream has them.
    async fn flush(&mut self) -> Result<()> {
        self.nats.round_trip().await
    }

    /// Gives back what is not settled, also what nobody has taken yet.
    async fn close(self) -> Result<()> {
        for subject in self.window.unsubscribe(&self.nats, &self.place, self.deliveries).await? {
            self.nats.hand_over(self.nats.client.publish(subject, AckKind::Nak(None).into())).await?;
        }
        self.nats.round_trip().await
    }
}
