//! The dead letters of a queue on Redis, of lists or of a stream: a stream with an entry for each,
//! whose identifier is the dead letter's.
//!
//! ```text
//! put aside:  XADD PLACE:dead * body … attempts … reason …   in one transaction with its removal
//! returned:   RPUSH or XADD to the queue, XDEL PLACE:dead    in one transaction
//! ```

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use crate::lab::Place;
use crate::queue::{DeadLetter, DeadLetters};
use crate::wire::redis::Redis;
use crate::wire::redis::stream::Entry;

/// The stream of a place's dead letters.
pub(crate) fn dead(place: &Place) -> String {
    format!("{}:dead", place.name())
}

/// Adds a dead letter, as a command of a transaction.
pub(crate) fn bury(transaction: &mut Pipeline, dead: &str, body: &[u8], attempts: u32, reason: &str) {
    let add = transaction.cmd("XADD").arg(dead).arg("*").arg("body").arg(body);
    add.arg("attempts").arg(attempts).arg("reason").arg(reason);
}

/// Adds a body at the tail of a queue, as a command of a transaction.
type SendBack = dyn Fn(&mut Pipeline, &[u8]);

/// Dead letters in a stream.
pub struct DeadStream {
    redis: MultiplexedConnection,
    dead: String,
    send: Box<SendBack>,
}

impl DeadStream {
    pub(crate) async fn open(
        place: &Place,
        redis: &Redis,
        send: impl Fn(&mut Pipeline, &[u8]) + 'static,
    ) -> Result<Self> {
        Ok(Self { redis: redis.connect().await?, dead: dead(place), send: Box::new(send) })
    }

    async fn entries(&mut self, from: &str, to: &str, most: usize) -> Result<Vec<DeadLetter>> {
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.dead).arg(from).arg(to).arg("COUNT").arg(most);
        let answer: Value =
            range.query_async(&mut self.redis).await.context("cannot list the dead letters")?;
        Ok(Entry::list(answer).into_iter().map(letter).collect())
    }

    async fn find(&mut self, id: &str) -> Result<Option<DeadLetter>> {
        // Anything else is not an identifier, and Redis refuses it or takes it for a range.
        let numbers =
            |(ms, number): (&str, &str)| [ms, number].iter().all(|part| part.parse::<u64>().is_ok());
        if !id.split_once('-').is_some_and(numbers) {
            return Ok(None);
        }
        Ok(self.entries(id, id, 1).await?.pop().filter(|letter| letter.id == id))
    }
}

fn letter(mut entry: Entry) -> DeadLetter {
    let mut text = |field| entry.take(field).map(|text| String::from_utf8_lossy(&text).into_owned());
    let attempts = text("attempts").and_then(|attempts| attempts.parse().ok()).unwrap_or_default();
    let reason = text("reason").unwrap_or_default();
    let body = entry.take("body").unwrap_or_default();
    DeadLetter { id: entry.id, body, attempts, reason }
}

impl DeadLetters for DeadStream {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        self.entries("-", "+", most).await
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        let Some(DeadLetter { body, .. }) = self.find(id).await? else { return Ok(false) };
        let mut transaction = redis::pipe();
        transaction.atomic();
        (self.send)(&mut transaction, &body);
        transaction.cmd("XDEL").arg(&self.dead).arg(id);
        transaction.exec_async(&mut self.redis).await.context("cannot return the dead letter")?;
        Ok(true)
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        if self.find(id).await?.is_none() {
            return Ok(false);
        }
        let mut delete = redis::cmd("XDEL");
        delete.arg(&self.dead).arg(id);
        let deleted: u64 = delete.query_async(&mut self.redis).await.context("cannot discard it")?;
        Ok(deleted > 0)
    }
}
