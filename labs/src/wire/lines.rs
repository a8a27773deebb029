//! The consumer's end of a queue that lives with its producers: one line to
//! each of them, kept by a task that makes it again when it breaks, and the
//! [`Hand`] they all deliver into.

use std::time::Duration;

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::hand::{Hand, Receipt};
use super::word::Word;
use crate::lab::Place;
use crate::queue::{Consumer, Delivery};

/// Acks told at once, at most.
const ACKS: usize = 128;
/// Words that wait for a line.
const WORDS: usize = 64;
/// How long a consumer that leaves waits until its producers know.
const GOODBYE: Duration = Duration::from_secs(3);

/// What is heard of a line.
enum Heard {
    Word(Word),
    Lost,
    Failed(Error),
}

/// The far end of the consumer's channels: what a line's task holds.
pub(crate) struct End {
    number: usize,
    heard: mpsc::Sender<(usize, Heard)>,
    say: mpsc::Receiver<Word>,
    /// How many deliveries this line may bring and not see settled.
    pub(crate) limit: u32,
}

impl End {
    /// Passes on what the producer says.
    pub(crate) async fn heard(&self, word: Word) {
        // The consumer that does not listen any more has gone, and ends this task.
        let _ = self.heard.send((self.number, Heard::Word(word))).await;
    }

    /// The connection has broken.
    pub(crate) async fn lost(&self) {
        let _ = self.heard.send((self.number, Heard::Lost)).await;
    }

    /// The next thing to say, or `None` when the consumer has gone. Cancel-safe.
    pub(crate) async fn next_to_say(&mut self) -> Option<Word> {
        self.say.recv().await
    }

    /// What else is to be said at once.
    #[cfg(feature = "outbox")]
    pub(crate) fn more_to_say(&mut self) -> Option<Word> {
        self.say.try_recv().ok()
    }
}

/// The lines to all producers, and what has come over them.
pub struct Lines {
    hand: Hand,
    heard: mpsc::Receiver<(usize, Heard)>,
    say: Vec<mpsc::Sender<Word>>,
    batch: usize,
    _tasks: JoinSet<()>,
}

impl Lines {
    /// Connects to every producer of the place; all have said welcome when
    /// this returns. They share the prefetch between them, evenly: what one
    /// does not use, the others cannot.
    pub(crate) async fn join<F>(place: &Place, prefetch: u16, line: impl Fn(String, End) -> F) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let addresses = place.peers().await?;
        let prefetch = usize::from(prefetch).max(1);
        let limit = (prefetch / addresses.len().max(1)).max(1);
        let (hear, heard) = mpsc::channel(2 * limit * addresses.len() + WORDS);
        let (mut tasks, mut say) = (JoinSet::new(), Vec::new());
        for (number, address) in addresses.into_iter().enumerate() {
            let (words, to_say) = mpsc::channel(WORDS);
            say.push(words);
            let end = End { number, heard: hear.clone(), say: to_say, limit: u32::try_from(limit)? };
            let (kept, hear) = (line(address, end), hear.clone());
            tasks.spawn(async move {
                if let Err(error) = kept.await {
                    let _ = hear.send((number, Heard::Failed(error))).await;
                }
            });
        }
        let hand = Hand::new(say.len(), prefetch);
        // Half of what may be held: the producer delivers on while acks are on their way.
        let mut joined = Self { hand, heard, say, batch: (limit / 2).clamp(1, ACKS), _tasks: tasks };
        while !(0..joined.hand.sources()).all(|source| joined.hand.is_welcome(source)) {
            joined.listen().await?;
        }
        Ok(joined)
    }

    /// Cancel-safe.
    async fn listen(&mut self) -> Result<()> {
        let heard = self.heard.recv().await.context("no producer can come any more")?;
        self.note(heard)
    }

    fn note(&mut self, (source, heard): (usize, Heard)) -> Result<()> {
        match heard {
            Heard::Word(word) => self.hand.hear(source, word),
            Heard::Lost => self.hand.lost(source),
            Heard::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells a producer what was settled. Cancel-safe: first the room, then the words.
    async fn tell(&mut self, source: usize) -> Result<()> {
        if self.hand.untold(source) > 0 {
            let room = self.say[source].reserve_many(2).await.context("the line has ended")?;
            room.zip(self.hand.tell(source)).for_each(|(room, word)| room.send(word));
        }
        Ok(())
    }

    async fn tell_all(&mut self) -> Result<()> {
        for source in 0..self.say.len() {
            self.tell(source).await?;
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        for source in (0..self.say.len()).filter(|source| self.hand.is_welcome(*source)).collect::<Vec<_>>() {
            self.tell(source).await?;
            let room = self.say[source].reserve().await.context("the line has ended")?;
            room.send(self.hand.leave(source));
        }
        // A producer that has gone is not waited for: what it has not heard, it delivers again.
        while (0..self.say.len()).any(|source| self.hand.is_welcome(source) && !self.hand.is_known(source)) {
            self.listen().await?;
            self.tell_all().await?;
        }
        Ok(())
    }
}

impl Consumer for Lines {
    type Item = Bytes;
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Receipt>>> {
        loop {
            if let Some(delivery) = self.hand.take() {
                return Ok(Some(delivery));
            }
            match self.heard.try_recv() {
                Ok(heard) => self.note(heard)?,
                Err(_) => {
                    self.tell_all().await?;
                    self.listen().await?;
                }
            }
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<()> {
        self.hand.ack(receipt);
        if self.hand.untold(receipt.source) >= self.batch { self.tell(receipt.source).await } else { Ok(()) }
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<()> {
        self.hand.nack(receipt);
        if self.hand.untold(receipt.source) >= self.batch { self.tell(receipt.source).await } else { Ok(()) }
    }

    /// While a producer is away, this waits for it: it cannot know before.
    async fn flush(&mut self) -> Result<()> {
        loop {
            self.tell_all().await?;
            if (0..self.say.len()).all(|source| self.hand.is_known(source)) {
                return Ok(());
            }
            self.listen().await?;
        }
    }

    async fn close(mut self) -> Result<()> {
        tokio::time::timeout(GOODBYE, self.leave()).await.unwrap_or(Ok(()))
    }
}
