//! The dead letters of a queue that lives with its producers: each producer is asked for its own.

use anyhow::{Context, Result};
use futures_util::future::LocalBoxFuture;

use super::frame::{PeerLetter, QueueFrame};
use crate::queue::{DeadLetter, DeadLetters};

/// Asks the producer at an address, over a connection of its own. The answers end with
/// [`QueueFrame::Found`].
pub(crate) type Ask = fn(String, QueueFrame) -> LocalBoxFuture<'static, Result<Vec<QueueFrame>>>;

/// Dead letters that producers keep. An id is the log's number and the message's in it.
pub struct PeerLetters {
    producers: Vec<String>,
    ask: Ask,
}

impl PeerLetters {
    pub(crate) fn of(producers: Vec<String>, ask: Ask) -> Self {
        Self { producers, ask }
    }

    /// The answer of the first producer that has the letter.
    async fn settle(&self, id: &str, question: fn(u64, u64) -> QueueFrame) -> Result<bool> {
        let Some((log, number)) = log_and_number(id) else { return Ok(false) };
        for producer in &self.producers {
            let answers = (self.ask)(producer.clone(), question(log, number)).await?;
            if answers.contains(&QueueFrame::Found(true)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The id of a dead letter.
pub(crate) fn id_of(log: u64, number: u64) -> String {
    format!("{log:016x}-{number}")
}

/// What an id says; `None` if it is not one.
pub(crate) fn log_and_number(id: &str) -> Option<(u64, u64)> {
    let (log, number) = id.split_once('-')?;
    Some((u64::from_str_radix(log, 16).ok()?, number.parse().ok()?))
}

impl DeadLetters for PeerLetters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for producer in &self.producers {
            let mut after = 0;
            loop {
                let answers = (self.ask)(producer.clone(), QueueFrame::Inspect(after)).await?;
                let before = letters.len();
                for answer in answers {
                    let QueueFrame::Dead(PeerLetter { log, id, attempts, reason, body }) = answer else {
                        continue;
                    };
                    after = after.max(id);
                    letters.push(DeadLetter { id: id_of(log, id), body, attempts, reason });
                }
                if letters.len() == before || letters.len() >= most {
                    break;
                }
            }
        }
        letters.truncate(most);
        Ok(letters)
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        self.settle(id, QueueFrame::Return).await.context("cannot return the dead letter")
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        self.settle(id, QueueFrame::Discard).await.context("cannot discard the dead letter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_were_written() {
        assert_eq!(log_and_number(&id_of(u64::MAX, 7)), Some((u64::MAX, 7)));
        for other in ["", "-", "7", "x-7", "7-x", "no-such-id"] {
            assert_eq!(log_and_number(other), None, "{other}");
        }
    }
}
