//! What the JetStream labs share: a stream, publishing with many messages on
//! their way to be confirmed, and a consumer that pulls no more than it may hold.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::consumer::{self, pull};
use async_nats::jetstream::context::{self, ContextBuilder};
use async_nats::jetstream::stream::{self, RetentionPolicy};
use async_nats::jetstream::{AckKind, ErrorCode};
use async_nats::{Message, Subject};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};

use crate::lab::Place;
use crate::wire::nats::{Inbox, Line};
use crate::wire::window::Window;

/// Messages on their way to be confirmed.
const ON_THEIR_WAY: usize = 1024;
/// And at most this much of them, however few they are.
const BYTES_ON_THEIR_WAY: usize = 4 * 1024 * 1024;
/// The crate's default of five seconds fails a busy server, not a dead one.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How often to try to make a stream, and how long to wait in between. Two things
/// nats-server 2.9 does not do in one step: it removes the folder of all streams
/// with the last of them, also while another is being made in it; and of two who
/// make the same stream at the same time, it may tell one that the other's
/// subjects are taken. Both are over in milliseconds on an idle machine.
const ATTEMPTS: usize = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// A stream of JetStream, over a connection of its own.
pub(crate) struct Store {
    pub(crate) line: Line,
    jetstream: context::Context,
    name: String,
}

impl Store {
    pub(crate) async fn at(place: &Place) -> Result<Self> {
        let line = Line::to(place).await?;
        let jetstream = ContextBuilder::new().timeout(ANSWER_WITHIN).build(line.client.clone());
        // A dot would end the name in JetStream's own subjects.
        Ok(Self { line, jetstream, name: place.name().replace('.', ":") })
    }

    /// Makes the stream, on disk; whoever comes first makes it. It takes what
    /// is published under `subject`, and keeps it as `retention` says.
    pub(crate) async fn make(&self, subject: String, retention: RetentionPolicy) -> Result<()> {
        let config = stream::Config {
            name: self.name.clone(),
            subjects: vec![subject],
            retention,
            storage: stream::StorageType::File,
            ..Default::default()
        };
        let mut attempt = 1;
        loop {
            match self.jetstream.create_stream(&config).await {
                Err(error) if attempt < ATTEMPTS && was_disturbed(error.kind()) => {
                    attempt += 1;
                    tokio::time::sleep(BETWEEN_ATTEMPTS).await;
                }
                made => {
                    return made.map(drop).with_context(|| format!("cannot make the stream {}", self.name));
                }
            }
        }
    }

    /// Deletes the stream, with its consumers and all that it holds.
    pub(crate) async fn delete(&self) -> Result<()> {
        match self.jetstream.delete_stream(&self.name).await {
            Err(error) if absent(error.kind()) => Ok(()),
            deleted => deleted.map(drop).with_context(|| format!("cannot delete the stream {}", self.name)),
        }
    }

    /// Returns when the message is confirmed: it is in the stream.
    pub(crate) async fn publish(&self, subject: Subject, body: Bytes) -> Result<()> {
        let confirmed = async { self.jetstream.publish(subject, body).await?.await };
        self.line.unless_cut(confirmed).await.map(drop).context("the message is not confirmed")
    }

    /// Makes a consumer, unless there is one of that name.
    pub(crate) async fn consumer(&self, config: pull::Config) -> Result<consumer::Info> {
        let made = self.line.unless_cut(self.jetstream.create_consumer_on_stream(config, &self.name)).await;
        Ok(made.context("cannot make the consumer")?.cached_info().clone())
    }

    /// The durable consumer of this name, made if it is not there; an error if
    /// it is there with another filter.
    pub(crate) async fn durable(&self, name: &str, config: pull::Config) -> Result<consumer::Info> {
        let known = self.jetstream.get_consumer_from_stream::<pull::Config, _, _>(name, &self.name);
        match known.await {
            Ok(known) => {
                let known = known.cached_info().clone();
                let (was, is) = (&known.config.filter_subject, &config.filter_subject);
                ensure!(was == is, "{name} subscribed to {was}, and not to {is}: forget it first");
                Ok(known)
            }
            Err(error) if no_consumer(error.kind()) => self.consumer(config).await,
            Err(error) => Err(error).context("cannot find the consumer"),
        }
    }

    /// Says on behalf of whoever had this consumer before, and has died, that it
    /// is not done with what it had in hand: it comes again at once, in order.
    pub(crate) async fn take_over(&self, consumer: consumer::Info) -> Result<()> {
        let (settled, delivered) = (consumer.ack_floor.stream_sequence, consumer.delivered.stream_sequence);
        if consumer.num_ack_pending > 0 {
            // Where a delivery is acknowledged depends on its place in the stream,
            // and what was settled in between is not concerned.
            let order = consumer.delivered.consumer_sequence;
            for at in settled + 1..=delivered {
                let settle_at = format!("$JS.ACK.{}.{}.1.{at}.{order}.0.0", self.name, consumer.name);
                self.line.publish(settle_at.into(), AckKind::Nak(None).into()).await?;
            }
        }
        Ok(())
    }

    /// Deletes a consumer; one that never was is no error.
    pub(crate) async fn delete_consumer(&self, name: &str) -> Result<()> {
        let delete = self.jetstream.delete_consumer_from_stream(name, &self.name).await;
        match delete {
            Err(error) if no_consumer(error.kind()) => Ok(()),
            deleted => deleted.map(drop).with_context(|| format!("cannot delete the consumer {name}")),
        }
    }
}

fn was_disturbed(error: context::CreateStreamErrorKind) -> bool {
    let context::CreateStreamErrorKind::JetStream(error) = error else { return false };
    [ErrorCode::STREAM_CREATE, ErrorCode::STREAM_SUBJECT_OVERLAP].contains(&error.error_code())
}

fn absent(error: context::DeleteStreamErrorKind) -> bool {
    matches!(error, context::DeleteStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn no_consumer(error: stream::ConsumerErrorKind) -> bool {
    matches!(error, stream::ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

/// Publishes with many messages on their way: awaiting one after the other
/// would measure wake-ups and not the store.
pub(crate) struct Outbox {
    store: Rc<Store>,
    on_their_way: Window,
}

impl Outbox {
    pub(crate) fn new(store: Store) -> Self {
        Self { store: Rc::new(store), on_their_way: Window::new(ON_THEIR_WAY, BYTES_ON_THEIR_WAY) }
    }

    /// Accepts a message.
    pub(crate) async fn publish(&mut self, subject: Subject, body: Bytes) -> Result<()> {
        self.on_their_way.room().await?;
        let store = Rc::clone(&self.store);
        self.on_their_way.put(body.len(), async move { store.publish(subject, body).await })
    }

    /// Everything accepted is confirmed.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.on_their_way.drain().await
    }
}

/// Takes from a consumer, and holds at most so many deliveries. JetStream sends
/// only what it was asked for, so asking is the flow control.
pub(crate) struct Pull {
    inbox: Inbox,
    /// Where JetStream is asked, and where it sends what it was asked for.
    requests: Subject,
    here: Subject,
    most: usize,
    /// Deliveries asked for, and not yet taken from the inbox.
    asked: usize,
    /// Where to settle what is not settled yet, by its number in the stream: what
    /// comes again while it is still held takes no second place.
    held: BTreeMap<u64, Subject>,
}

/// A delivery, with what JetStream says of it.
pub(crate) struct Pulled {
    pub(crate) message: Message,
    /// 1 for the first delivery of this message.
    pub(crate) attempt: u32,
    /// The message's number in the stream.
    pub(crate) number: u64,
    /// The delivery's number, of all that this consumer ever made.
    pub(crate) order: u64,
}

impl Pull {
    pub(crate) async fn from(store: &Store, consumer: &str, most: usize) -> Result<Self> {
        let here = store.line.client.new_inbox();
        let inbox = store.line.subscribe(here.clone(), None).await?;
        let requests = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", store.name).into();
        let (here, most) = (here.into(), most.max(1));
        Ok(Self { inbox, requests, here, most, asked: 0, held: BTreeMap::new() })
    }

    /// The next delivery. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Pulled> {
        self.ask().await?;
        let pulled = pulled(self.inbox.next().await?)?;
        self.asked = self.asked.saturating_sub(1);
        Ok(pulled)
    }

    /// Counts a delivery among those held, until it is settled under its number.
    pub(crate) fn hold(&mut self, pulled: &Pulled) -> Result<()> {
        let settle_at = pulled.message.reply.clone().context("a delivery that cannot be acknowledged")?;
        self.held.insert(pulled.number, settle_at);
        Ok(())
    }

    /// Accepts an ack or a nack. One that was settled before is not settled again.
    pub(crate) async fn settle(&mut self, number: u64, how: AckKind) -> Result<()> {
        match self.held.remove(&number) {
            Some(settle_at) => self.inbox.line.publish(settle_at, how.into()).await,
            None => Ok(()),
        }
    }

    /// JetStream has been told of all that was settled.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.inbox.line.round_trip().await
    }

    /// Asks for as many as may still be held: half of them at a time, or all
    /// when there is nothing else to wait for.
    async fn ask(&mut self) -> Result<()> {
        let free = self.most.saturating_sub(self.asked + self.held.len());
        if free > 0 && (self.asked == 0 || free >= self.most / 2) {
            let line = &self.inbox.line;
            let batch = Bytes::from(format!("{{\"batch\":{free}}}"));
            let ask = line.client.publish_with_reply(self.requests.clone(), self.here.clone(), batch);
            line.unless_cut(ask).await?;
            self.asked += free;
        }
        Ok(())
    }

    /// Leaves, and gives back what is not settled, also what nobody has seen yet.
    /// What JetStream hands out in this very moment comes back when its time is over.
    pub(crate) async fn close(mut self) -> Result<()> {
        // What was asked for comes now, if there is any.
        let mut before = usize::MAX;
        while self.asked > 0 && self.asked < before {
            before = self.asked;
            self.inbox.line.round_trip().await?;
            while let Some(Some(message)) = self.inbox.messages.next().now_or_never() {
                self.take_back(message)?;
            }
        }
        // From here on JetStream finds nobody to send to.
        self.inbox.messages.drain().await.context("cannot unsubscribe")?;
        self.inbox.line.round_trip().await?;
        while let Some(message) = self.inbox.messages.next().await {
            self.take_back(message)?;
        }
        for settle_at in std::mem::take(&mut self.held).into_values() {
            self.inbox.line.publish(settle_at, AckKind::Nak(None).into()).await?;
        }
        self.inbox.line.round_trip().await
    }

    fn take_back(&mut self, message: Message) -> Result<()> {
        self.asked = self.asked.saturating_sub(1);
        self.hold(&pulled(message)?)
    }
}

/// A delivery is acknowledged at a subject that tells all about it:
/// `$JS.ACK.STREAM.CONSUMER.ATTEMPT.NUMBER.ORDER.…`, with two more words before the stream's
/// name from servers that say where it is.
fn pulled(message: Message) -> Result<Pulled> {
    if let Some(status) = message.status {
        bail!("JetStream says {status}: {}", message.description.unwrap_or_default());
    }
    let about = message.reply.as_ref().context("a message that JetStream did not deliver")?;
    let words = about.split('.').count();
    ensure!(words >= 9, "JetStream delivered under `{about}`");
    let mut numbers = about.split('.').skip(if words < 11 { 4 } else { 6 });
    let mut number = || numbers.next().and_then(|word| word.parse::<u64>().ok());
    let (Some(attempt), Some(number), Some(order)) = (number(), number(), number()) else {
        bail!("JetStream delivered under `{about}`");
    };
    Ok(Pulled { message, attempt: u32::try_from(attempt).unwrap_or(u32::MAX), number, order })
}
