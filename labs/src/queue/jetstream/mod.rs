//! A queue on JetStream: a work-queue stream keeps a message until it is acknowledged, and one durable
//! consumer in it, shared by all who compete, sends each message to the one that asked next.
//!
//! Wire: a producer publishes to the stream's subject (`PUB PLACE INBOX`), and JetStream replies to the
//! inbox. A consumer asks for as many deliveries as it has room for (`PUB $JS.API.CONSUMER.MSG.NEXT.…`,
//! `{"batch":N}`), and publishes `+ACK` or `-NAK` to the reply subject of each; after `-NAK` the message
//! comes again at once. Each delivery says which attempt it is. After `max-attempts` deliveries of a message
//! (`max_deliver`) JetStream delivers it no more, and says so in an advisory, which a second stream keeps
//! (`jetstream/dead.rs`).
//!
//! Confirms: a message when it is in the stream's file, which the reply to the inbox says.
//!
//! Survives: kill -9 of a consumer: what it had not settled comes again after `claim-ms`, because JetStream
//! does not watch the connections of those who asked. Kill -9 of NATS: confirmed messages are in the stream's
//! file. A cut connection loses nothing: the recovery layer (`labs/src/recovery/`) connects and joins again,
//! also after a restart of NATS, and what was not confirmed or not acked is sent again, and may come twice.
//!
//! Loses: messages that were not confirmed when the producer died; with a power cut, what was written since
//! the file was last synced, which happens every minute or two. A message also comes again if it is not
//! acknowledged within `claim-ms` of its delivery: waiting in the consumer behind others counts, and the lab
//! never extends the time. Beyond `high-water` (if set below the prefetch) the client drops deliveries, which
//! come again likewise.
//!
//! Run it: `just lab queue-jetstream`. Break it: `just break run unfair-dispatch`. Watch it:
//! `nats consumer report`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::Subject;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::{AttemptLimit, Consumer, Delivery, Depth, MAX_ATTEMPTS, Producer, Queue};
use crate::wire::nats::jetstream::{self, JetStreamConnection, JetStreamDelivery, PullWindow};
use crate::wire::nats::{self, NatsConnection};
pub use dead::AdvisedLetters;

mod dead;

pub(crate) const CLAIM_MS: Knob =
    Knob::new("claim-ms", 5_000, "Milliseconds after which an unsettled delivery goes to another consumer.");
/// The name of the one JetStream consumer that all our consumers share.
const CONSUMERS: &str = "consumers";

/// A stream that is a queue.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[CLAIM_MS, MAX_ATTEMPTS, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        create_stream(place).await?;
        dead::keep_advisories(&JetStreamConnection::connect(place).await?, CONSUMERS).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        jetstream::delete_stream(place).await?;
        dead::forget_advisories(place).await
    }
}

impl Queue for JetStream {
    type Producer = StreamProducer;
    type Consumer = StreamConsumer;
    type DeadLetters = AdvisedLetters;

    async fn producer(&self) -> Result<StreamProducer> {
        let js = JetStreamConnection::connect(&self.place).await?;
        Ok(StreamProducer { js, subject: self.place.name().into(), turn: Mutex::default() })
    }

    async fn consumer(&self, prefetch: u16) -> Result<StreamConsumer> {
        StreamConsumer::join(&self.place, prefetch, AttemptLimit::of(&self.place)).await
    }

    async fn dead_letters(&self) -> Result<AdvisedLetters> {
        AdvisedLetters::open(&self.place).await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        let js = JetStreamConnection::connect(&self.place).await?;
        let stream = js.context.get_stream(&js.stream).await.context("the stream cannot be asked")?;
        let count = stream.cached_info().state.messages;
        Ok(Some(Depth { count, asked: "stream info: messages that are not acknowledged" }))
    }
}

/// Creates a stream on disk that takes what is published to the place's subject.
pub(crate) async fn create_stream(place: &Place) -> Result<()> {
    let js = JetStreamConnection::connect(place).await?;
    let queue = stream::Config {
        name: js.stream.clone(),
        subjects: vec![place.name()],
        // A message goes when it is acknowledged.
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        ..Default::default()
    };
    js.create_stream(queue).await
}

/// Publishes into the stream, and waits for the confirmation of each message.
pub struct StreamProducer {
    js: JetStreamConnection,
    subject: Subject,
    /// Sends that start at once are handed over one after the other, so that they keep their order.
    turn: Mutex<()>,
}

impl Producer for StreamProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        // Two waits: the message is handed over to the client; JetStream has stored it.
        let confirmed = async {
            let turn = self.turn.lock().await;
            let stored = self.js.context.publish(self.subject.clone(), body).await?;
            drop(turn);
            stored.await
        };
        self.js.nats.unless_lost(confirmed).await.map(drop).context("the message is not confirmed")
    }

    async fn close(self) -> Result<()> {
        self.js.nats.round_trip().await
    }
}

/// Pulls from the shared consumer; a receipt is the message's number in the stream.
pub struct StreamConsumer {
    nats: NatsConnection,
    /// Where JetStream is asked for deliveries.
    requests: Subject,
    /// Where it sends them.
    inbox: Subject,
    deliveries: async_nats::Subscriber,
    window: PullWindow,
    place: Place,
}

impl StreamConsumer {
    /// Also the receiving end of `pipeline/jetstream.rs`.
    pub(crate) async fn join(place: &Place, prefetch: u16, limit: AttemptLimit) -> Result<Self> {
        let js = JetStreamConnection::connect(place).await?;
        let shared = pull::Config {
            durable_name: Some(CONSUMERS.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(place.knob(CLAIM_MS) as u64),
            // What each may hold is its prefetch; all together have no limit.
            max_ack_pending: -1,
            max_deliver: limit.get().map_or(-1, i64::from),
            ..Default::default()
        };
        // The first role that opens it creates it.
        let create = js.context.create_consumer_on_stream(shared, &js.stream);
        js.nats.unless_lost(create).await.context("cannot create the consumer")?;
        let inbox = Subject::from(js.nats.client.new_inbox());
        let subscribe = js.nats.client.subscribe(inbox.clone());
        let deliveries = subscribe.await.with_context(|| format!("cannot subscribe to {inbox}"))?;
        // NATS does not answer SUB: a round trip behind it says that it is in force.
        js.nats.round_trip().await?;
        let requests = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMERS}", js.stream).into();
        let window = PullWindow::new(usize::from(prefetch));
        Ok(Self { nats: js.nats, requests, inbox, deliveries, window, place: place.clone() })
    }

    /// Accepts an ack or a nack; a delivery is settled once.
    async fn settle(&mut self, receipt: u64, how: AckKind) -> Result<()> {
        match self.window.settle(receipt) {
            Some(subject) => self.nats.hand_over(self.nats.client.publish(subject, how.into())).await,
            None => Ok(()),
        }
    }
}

impl Consumer for StreamConsumer {
    type Item = Bytes;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
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
            return Ok(Some(Delivery { item: delivery.message.payload, attempt, receipt }));
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
