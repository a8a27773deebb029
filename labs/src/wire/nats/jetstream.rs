//! What the JetStream labs share: a connection with JetStream's API, what the subject of a
//! delivery says, and how many deliveries a pull consumer may request.
//!
//! JetStream has no frames of its own. Its API is request/reply on subjects that begin with
//! `$JS.API`, a delivery is a message whose reply subject begins with `$JS.ACK`, and an ack is
//! a message to that subject.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{self, ContextBuilder};
use async_nats::jetstream::stream;
use async_nats::{Message, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};

use super::NatsConnection;
use crate::lab::Place;
use crate::recovery::disconnected;
use crate::wire::window::Window;

/// Messages that are published and not yet confirmed, at most.
const IN_FLIGHT: usize = 1024;
/// The same in bytes.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How often to try to create a stream, and how long to wait in between. nats-server 2.9 does
/// two things not in one step. With the last stream it removes the folder of all streams, also
/// while another stream is created in it. And when two clients create the same stream at the
/// same time, it may tell one of them that the other's subjects are taken. Both are over in
/// milliseconds on an idle machine.
const ATTEMPTS: usize = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// Publications on their way to be confirmed. Who awaits one after the other measures how fast
/// tasks are woken up, and not the store.
pub(crate) const fn window() -> Window {
    Window::new(IN_FLIGHT, IN_FLIGHT_BYTES)
}

/// A connection, JetStream's API over it, and the name of the place's stream.
pub(crate) struct JetStreamConnection {
    pub(crate) nats: NatsConnection,
    pub(crate) context: context::Context,
    pub(crate) stream: String,
}

impl JetStreamConnection {
    /// Connects to the place's broker.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let nats = NatsConnection::connect(place).await?;
        let context = ContextBuilder::new().timeout(ANSWER_WITHIN).build(nats.client.clone());
        // A dot would end the name in JetStream's own subjects.
        Ok(Self { nats, context, stream: place.name().replace('.', ":") })
    }

    /// Creates a stream; if it is there already with the same configuration, this is no error.
    pub(crate) async fn create_stream(&self, config: stream::Config) -> Result<()> {
        let mut attempt = 1;
        loop {
            match self.context.create_stream(&config).await {
                Err(error) if attempt < ATTEMPTS && is_temporary(error.kind()) => {
                    attempt += 1;
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                created => {
                    let created = created.map(drop);
                    return created.with_context(|| format!("cannot create the stream {}", config.name));
                }
            }
        }
    }
}

/// Deletes the stream of a place, with its consumers and messages; an absent one is no error.
pub(crate) async fn delete_stream(place: &Place) -> Result<()> {
    let js = JetStreamConnection::connect(place).await?;
    delete_stream_named(&js, &js.stream).await
}

/// Deletes a stream; an absent one is no error.
pub(crate) async fn delete_stream_named(js: &JetStreamConnection, name: &str) -> Result<()> {
    match js.context.delete_stream(name).await {
        Err(error) if is_absent(error.kind()) => Ok(()),
        deleted => deleted.map(drop).with_context(|| format!("cannot delete the stream {name}")),
    }
}

fn is_temporary(error: context::CreateStreamErrorKind) -> bool {
    let context::CreateStreamErrorKind::JetStream(error) = error else { return false };
    [ErrorCode::STREAM_CREATE, ErrorCode::STREAM_SUBJECT_OVERLAP].contains(&error.error_code())
}

fn is_absent(error: context::DeleteStreamErrorKind) -> bool {
    matches!(error, context::DeleteStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// A delivery, with what its ack subject says of it.
pub(crate) struct JetStreamDelivery {
    pub(crate) message: Message,
    /// 1 for the first delivery of this message.
    pub(crate) attempt: u32,
    /// The message's number in the stream.
    pub(crate) stream_sequence: u64,
    /// The delivery's number among all that its consumer ever got.
    pub(crate) consumer_sequence: u64,
}

impl JetStreamDelivery {
    /// Reads the reply subject. `None` for a message that JetStream did not deliver, which is
    /// counted as skipped: whoever knows an inbox can publish to it.
    pub(crate) fn read(message: Message, place: &Place) -> Result<Option<Self>> {
        match (message.reply.as_deref().and_then(numbers), message.status) {
            // A delivery has the headers of its publisher, and so perhaps a status that means nothing.
            (Some([attempt, stream_sequence, consumer_sequence]), _) => {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                Ok(Some(Self { message, attempt, stream_sequence, consumer_sequence }))
            }
            (None, Some(status)) => {
                // The consumer is gone, or the server is being stopped: joining again makes a new one.
                let said = message.description.unwrap_or_default();
                Err(disconnected(format!("JetStream says {status}: {said}")))
            }
            (None, None) => {
                place.message_skipped("a message that JetStream did not deliver");
                Ok(None)
            }
        }
    }
}

/// The three numbers of an ack subject, `$JS.ACK.STREAM.CONSUMER.ATTEMPT.STREAM-SEQ.CONSUMER-SEQ.…`,
/// or with two more words before the stream's name, from servers that say where they are.
fn numbers(subject: &str) -> Option<[u64; 3]> {
    let words = subject.strip_prefix("$JS.ACK.")?.split('.');
    let before = match words.clone().count() {
        0..7 => return None,
        7 | 8 => 2,
        _ => 4,
    };
    let mut numbers = words.skip(before).map(|word| word.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// How many deliveries a pull consumer has requested and holds unacked: together never more
/// than the window's size. JetStream sends only what was requested, so this is the flow control.
pub(crate) struct PullWindow {
    size: usize,
    /// Requested, and not yet arrived.
    requested: usize,
    /// The ack subject of each delivery that is not settled, by the message's number in the
    /// stream: a message that comes again while it is still held takes no second place.
    unacked: BTreeMap<u64, Subject>,
}

impl PullWindow {
    pub(crate) fn new(size: usize) -> Self {
        Self { size: size.max(1), requested: 0, unacked: BTreeMap::new() }
    }

    /// How many deliveries to request now: what is free, once that is half of the window, or
    /// when nothing else is to be expected. So a request is worth its message.
    pub(crate) fn due(&self) -> Option<usize> {
        let free = self.size.saturating_sub(self.requested + self.unacked.len());
        (free > 0 && (self.requested == 0 || free >= self.size / 2)).then_some(free)
    }

    /// So many deliveries were requested.
    pub(crate) fn requested(&mut self, batch: usize) {
        self.requested += batch;
    }

    /// One of them has arrived.
    pub(crate) fn arrived(&mut self) {
        self.requested = self.requested.saturating_sub(1);
    }

    /// Keeps a delivery's ack subject until it is settled.
    pub(crate) fn hold(&mut self, delivery: &JetStreamDelivery) -> Result<()> {
        let ack_subject = delivery.message.reply.clone().context("a delivery that cannot be acknowledged")?;
        self.unacked.insert(delivery.stream_sequence, ack_subject);
        Ok(())
    }

    /// The subject at which to settle a message; none if it was settled before.
    pub(crate) fn settle(&mut self, stream_sequence: u64) -> Option<Subject> {
        self.unacked.remove(&stream_sequence)
    }

    /// Ends the subscription to the deliveries, and returns the ack subjects of all that are not
    /// settled, including those that nobody has taken yet. What JetStream sends at this very
    /// moment comes again when its ack wait is over.
    pub(crate) async fn unsubscribe(
        mut self,
        nats: &NatsConnection,
        place: &Place,
        mut deliveries: Subscriber,
    ) -> Result<impl Iterator<Item = Subject> + use<>> {
        // What was requested arrives now, if there is any.
        let mut before = usize::MAX;
        while self.requested > 0 && self.requested < before {
            before = self.requested;
            nats.round_trip().await?;
            while let Some(Some(message)) = deliveries.next().now_or_never() {
                self.take(message, place)?;
            }
        }
        // From here on JetStream finds no subscriber at our inbox.
        deliveries.drain().await.context("cannot unsubscribe")?;
        nats.round_trip().await?;
        while let Some(message) = deliveries.next().await {
            self.take(message, place)?;
        }
        Ok(self.unacked.into_values())
    }

    fn take(&mut self, message: Message, place: &Place) -> Result<()> {
        let Some(delivery) = JetStreamDelivery::read(message, place)? else { return Ok(()) };
        self.arrived();
        self.hold(&delivery)
    }
}
