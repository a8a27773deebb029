//! The dead letters of a queue on JetStream. A message that was delivered as often as its consumer
//! allows stays in the stream, and JetStream publishes an *advisory* with its number. A second stream
//! keeps these advisories: they are the list, and the bodies are still where they were.
//!
//! ```text
//! $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.STREAM.consumers   {"stream_seq":7,"deliveries":5,…}
//! read:      $JS.API.STREAM.MSG.GET.…      by number: the advisory, then the message
//! returned:  PUB PLACE, then $JS.API.STREAM.MSG.DELETE.… of both
//! ```

use anyhow::{Context as _, Result};
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{self, LastRawMessageErrorKind, StorageType, Stream};
use bytes::Bytes;
use serde_json::Value;

use crate::lab::Place;
use crate::queue::{DeadLetter, DeadLetters};
use crate::wire::nats::jetstream::{self, JetStreamConnection};

/// The limit that JetStream has applied.
const REASON: &str = "max_deliver";

/// The name of the stream of advisories. Streams of namespaces are named `PLACE:…` too; no namespace is
/// called `dead`, so this name is free.
fn advisories(js: &JetStreamConnection) -> String {
    format!("{}:dead", js.stream)
}

/// Creates the stream that keeps the advisories about a consumer of this queue.
pub(super) async fn keep_advisories(js: &JetStreamConnection, consumer: &str) -> Result<()> {
    let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.{consumer}", js.stream);
    let kept = stream::Config {
        name: advisories(js),
        subjects: vec![subject],
        storage: StorageType::File,
        ..Default::default()
    };
    js.create_stream(kept).await
}

/// Deletes the stream of advisories; an absent one is no error.
pub(super) async fn forget_advisories(place: &Place) -> Result<()> {
    let js = JetStreamConnection::connect(place).await?;
    let name = advisories(&js);
    jetstream::delete_stream_named(&js, &name).await
}

/// Dead letters that advisories are about; an id is the message's number in the stream.
pub struct AdvisedLetters {
    js: JetStreamConnection,
    subject: String,
    queue: Stream<()>,
    advisories: Stream,
}

/// An advisory, and what it says.
struct Advisory {
    sequence: u64,
    message: u64,
    deliveries: u32,
}

impl AdvisedLetters {
    pub(super) async fn open(place: &Place) -> Result<Self> {
        let js = JetStreamConnection::connect(place).await?;
        let queue = js.context.get_stream_no_info(&js.stream).await.context("there is no queue")?;
        let named = advisories(&js);
        let advisories = js.context.get_stream(&named).await.context("there are no dead letters")?;
        Ok(Self { js, subject: place.name(), queue, advisories })
    }

    /// Up to `most` advisories whose messages are still there, with their bodies, the oldest first;
    /// with `only`, just the advisory about that message.
    async fn read(&mut self, most: usize, only: Option<u64>) -> Result<Vec<(Advisory, Bytes)>> {
        let state = self.advisories.info().await.context("cannot list the dead letters")?.state.clone();
        let mut found: Vec<(Advisory, Bytes)> = Vec::new();
        // Of a new stream, first and last are 0; of an emptied one, first = last + 1.
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            if found.len() >= most {
                break;
            }
            let Some(kept) = get(&self.advisories, sequence).await? else { continue };
            let Some(advisory) = advisory(&kept) else { continue };
            let before = found.iter().any(|(other, _)| other.message == advisory.message);
            if before || only.is_some_and(|only| only != advisory.message) {
                continue;
            }
            // A message that was acked too late is not there any more.
            if let Some(message) = get(&self.queue, advisory.message).await? {
                found.push((advisory, message.payload));
            }
        }
        Ok(found)
    }

    async fn find(&mut self, id: &str) -> Result<Option<(Advisory, Bytes)>> {
        let Ok(message) = id.parse() else { return Ok(None) };
        Ok(self.read(1, Some(message)).await?.pop())
    }

    /// Deletes the message, then the advisory. `false`: somebody else was first.
    async fn delete(&self, advisory: &Advisory) -> Result<bool> {
        let deleted = match self.queue.delete_message(advisory.message).await {
            Ok(deleted) => deleted,
            // It went in this moment.
            Err(_) if get(&self.queue, advisory.message).await?.is_none() => false,
            Err(error) => return Err(error).context("cannot delete the dead letter"),
        };
        let forgotten = self.advisories.delete_message(advisory.sequence).await;
        if let Err(error) = forgotten
            && get(&self.advisories, advisory.sequence).await?.is_some()
        {
            return Err(error).context("cannot delete the advisory");
        }
        Ok(deleted)
    }
}

fn advisory(kept: &StreamMessage) -> Option<Advisory> {
    let said: Value = serde_json::from_slice(&kept.payload).ok()?;
    let number = |name: &str| said.get(name).and_then(Value::as_u64);
    let deliveries = u32::try_from(number("deliveries")?).unwrap_or(u32::MAX);
    Some(Advisory { sequence: kept.sequence, message: number("stream_seq")?, deliveries })
}

/// A message of a stream by its number; `None` if it is not there.
async fn get<I>(stream: &Stream<I>, sequence: u64) -> Result<Option<StreamMessage>> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(said) if said.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                Ok(None)
            }
            _ => Err(error).with_context(|| format!("cannot read message {sequence}")),
        },
    }
}

impl DeadLetters for AdvisedLetters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        let letter = |(advisory, body): (Advisory, Bytes)| DeadLetter {
            id: advisory.message.to_string(),
            body,
            attempts: advisory.deliveries,
            reason: REASON.to_owned(),
        };
        Ok(self.read(most, None).await?.into_iter().map(letter).collect())
    }

    /// Publishes first and deletes second: a crash in between leaves two copies.
    async fn give_back(&mut self, id: &str) -> Result<bool> {
        let Some((advisory, body)) = self.find(id).await? else { return Ok(false) };
        let stored = async { self.js.context.publish(self.subject.clone(), body).await?.await };
        self.js.nats.unless_lost(stored).await.context("the dead letter is not confirmed")?;
        self.delete(&advisory).await?;
        Ok(true)
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        match self.find(id).await? {
            Some((advisory, _)) => self.delete(&advisory).await,
            None => Ok(false),
        }
    }
}
