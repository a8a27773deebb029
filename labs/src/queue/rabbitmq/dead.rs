//! The dead letters of a queue in RabbitMQ: a queue of their own, `PLACE.dead`. A queue can be read
//! only by taking messages (`basic.get`); those that are not wanted go back to where they were
//! (`basic.nack` with `requeue`).

use anyhow::{Context as _, Result};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::lab::Place;
use crate::queue::{DeadLetter, DeadLetters};
use crate::wire::amqp::{self, AmqpConnection};

/// The headers of a dead letter: how many attempts have failed, and why the last one did.
pub(crate) const ATTEMPTS: &str = "attempts";
pub(crate) const REASON: &str = "reason";
/// RabbitMQ's own header with the reason, where it has put the message aside.
const FIRST_REASON: &str = "x-first-death-reason";

/// The queue of a place's dead letters.
pub(crate) fn dead(place: &Place) -> String {
    format!("{}.dead", place.name())
}

/// Dead letters in a queue. An id is a hash of the body.
pub struct DeadQueue {
    connection: AmqpConnection,
    queue: String,
    dead: String,
    /// How many attempts have failed where no header says so: the limit of the queue.
    attempts: u32,
}

impl DeadQueue {
    /// `attempts`: how many have failed where RabbitMQ has put a message aside.
    pub(crate) async fn open(place: &Place, attempts: u32) -> Result<Self> {
        let connection = AmqpConnection::open(place).await?;
        let select = connection.channel.confirm_select(ConfirmSelectOptions::default());
        select.await.context("RabbitMQ will not confirm")?;
        let dead = dead(place);
        amqp::declare_queue(&connection.channel, &dead, FieldTable::default()).await?;
        Ok(Self { connection, queue: place.name(), dead, attempts })
    }

    /// Takes the next one, which stays unacked.
    async fn take(&self) -> Result<Option<Delivery>> {
        let get = self.connection.channel.basic_get(self.dead.as_str().into(), BasicGetOptions::default());
        let taken = get.await.with_context(|| format!("cannot read the queue {}", self.dead))?;
        Ok(taken.map(|message| message.delivery))
    }

    /// Takes messages until one has this id. [`DeadQueue::put_back`] ends it.
    async fn find(&self, id: &str) -> Result<Option<Delivery>> {
        while let Some(taken) = self.take().await? {
            if id_of(&taken.data) == id {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    async fn ack(&self, taken: &Delivery) -> Result<()> {
        let ack = self.connection.channel.basic_ack(taken.delivery_tag, BasicAckOptions::default());
        ack.await.context("cannot remove the dead letter")
    }

    /// Puts everything back that was taken and not acked; returns when it is there.
    async fn put_back(&self) -> Result<()> {
        // Tag 0 means all.
        let options = BasicNackOptions { multiple: true, requeue: true };
        self.connection.channel.basic_nack(0, options).await.context("cannot put the dead letters back")?;
        self.connection.barrier().await
    }

    /// Publishes a body to the queue, and waits until it is confirmed.
    async fn send(&self, taken: &Delivery) -> Result<()> {
        // Without the headers: its attempts begin again. What was persistent stays so.
        let mode = taken.properties.delivery_mode().unwrap_or(2);
        let (options, key) = (BasicPublishOptions { mandatory: true, ..Default::default() }, &self.queue);
        let properties = BasicProperties::default().with_delivery_mode(mode);
        let publish = self.connection.channel.basic_publish(
            "".into(),
            key.as_str().into(),
            options,
            &taken.data,
            properties,
        );
        let confirmation = publish.await.context("cannot publish")?;
        amqp::stored(confirmation.await.context("the dead letter is not confirmed")?)
    }

    fn letter(&self, taken: Delivery) -> DeadLetter {
        let header =
            |name: &str| taken.properties.headers().as_ref().and_then(|headers| headers.inner().get(name));
        let attempts = header(ATTEMPTS).and_then(number).unwrap_or(self.attempts);
        let reason = header(REASON).or_else(|| header(FIRST_REASON)).map(text).unwrap_or_default();
        DeadLetter { id: id_of(&taken.data), attempts, reason, body: taken.data.into() }
    }
}

fn number(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
        // A header of STOMP.
        other => text(other).parse().ok(),
    }
}

fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        _ => String::new(),
    }
}

/// A hash of the body (FNV-1a, 64 bits): RabbitMQ has no identifier for a message.
fn id_of(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl DeadLetters for DeadQueue {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        while letters.len() < most {
            let Some(taken) = self.take().await? else { break };
            letters.push(self.letter(taken));
        }
        self.put_back().await?;
        Ok(letters)
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        let found = self.find(id).await?;
        if let Some(taken) = &found {
            self.send(taken).await?;
            self.ack(taken).await?;
        }
        self.put_back().await?;
        Ok(found.is_some())
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        let found = self.find(id).await?;
        if let Some(taken) = &found {
            self.ack(taken).await?;
        }
        self.put_back().await?;
        Ok(found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of <http://www.isthe.com/chongo/tech/comp/fnv/>.
    #[test]
    fn ids_are_hashes_of_the_body() {
        for (body, id) in
            [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")]
        {
            assert_eq!(id_of(body.as_bytes()), id);
        }
    }
}
