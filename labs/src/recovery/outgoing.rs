//! What a sender or a publisher has accepted, until it is confirmed.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

use super::link::{Joins, Link, keeps};
use super::transient::is_transient;
use crate::oneway::Sender;
use crate::pubsub::Publisher;
use crate::topic::Topic;

/// Messages that are kept at most: with so many, a flush is made without being asked for.
const MESSAGES: usize = 1024;
/// Bytes of them, likewise.
const BYTES: usize = 4 << 20;

/// What takes messages: a sender or a publisher, behind the same calls.
pub(super) trait Outlet {
    /// A message, with its topic where there is one.
    type Message;
    /// Accepts a message.
    async fn put(&mut self, message: &Self::Message) -> Result<()>;
    /// As the contract's.
    async fn flush(&mut self) -> Result<()>;
    /// As the contract's.
    async fn close(self) -> Result<()>;
}

/// A sender as an outlet.
pub struct SenderOutlet<S>(pub(super) S);

impl<S: Sender> Outlet for SenderOutlet<S> {
    type Message = Bytes;

    async fn put(&mut self, body: &Bytes) -> Result<()> {
        self.0.send(body.clone()).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A publisher as an outlet.
pub struct PublisherOutlet<P>(pub(super) P);

impl<P: Publisher> Outlet for PublisherOutlet<P> {
    type Message = (Topic, Bytes);

    async fn put(&mut self, (topic, body): &(Topic, Bytes)) -> Result<()> {
        self.0.publish(topic, body.clone()).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A sender or a publisher whose connection is opened again.
pub(super) struct Outgoing<J: Joins<End: Outlet>> {
    pub(super) link: Link<J>,
    /// Accepted since the last flush that succeeded, where that is kept.
    kept: Vec<<J::End as Outlet>::Message>,
    bytes: usize,
    /// How many of them the present end has accepted, and which generation that is.
    put: usize,
    generation: u64,
}

impl<J: Joins<End: Outlet>> Outgoing<J> {
    pub(super) fn new(joins: J, end: J::End) -> Self {
        Self { link: Link::new(joins, end), kept: Vec::new(), bytes: 0, put: 0, generation: 0 }
    }

    /// At least once: keeps the message, of so many bytes, and puts it. It is put again after each
    /// loss of the connection, until a flush has confirmed it.
    pub(super) async fn keep(&mut self, message: <J::End as Outlet>::Message, bytes: usize) -> Result<()> {
        if self.kept.len() >= MESSAGES || self.bytes + bytes > BYTES && !self.kept.is_empty() {
            self.flush().await?;
        }
        self.kept.push(message);
        self.bytes += bytes;
        self.put_kept().await
    }

    /// Puts what the present end has not accepted yet.
    async fn put_kept(&mut self) -> Result<()> {
        loop {
            let generation = self.link.generation();
            if generation != std::mem::replace(&mut self.generation, generation) {
                self.put = 0;
            }
            let end = self.link.end().await?;
            let Some(message) = self.kept.get(self.put) else { return Ok(()) };
            match end.put(message).await {
                Ok(()) => self.put += 1,
                Err(error) => {
                    if !is_transient(&error) {
                        // It would be refused again.
                        self.kept.remove(self.put);
                    }
                    self.link.failed(error)?;
                }
            }
        }
    }

    /// At most once: the message is given up if the connection was lost, because it may have been
    /// written. Returns when the connection is open again.
    pub(super) async fn give_up(&mut self, error: anyhow::Error) -> Result<()> {
        self.link.failed(error)?;
        self.link.end().await.map(|_| ())
    }

    /// Returns when all that is kept is confirmed. At most once: when what the present end has
    /// accepted is written; what an end has lost with its connection is not sent again.
    pub(super) async fn flush(&mut self) -> Result<()> {
        loop {
            if keeps::<J>() {
                self.put_kept().await?;
            }
            match self.link.end().await?.flush().await {
                Ok(()) => {
                    self.link.succeeded();
                    self.kept.clear();
                    (self.bytes, self.put) = (0, 0);
                    return Ok(());
                }
                Err(error) if keeps::<J>() => self.link.failed(error)?,
                Err(error) => return self.give_up(error).await,
            }
        }
    }

    /// Closes. A lost connection is not opened again for it: at most once, that is all; at least
    /// once, it is an error if anything was not confirmed.
    pub(super) async fn close(self) -> Result<()> {
        let unconfirmed = self.kept.len();
        let lost = || format!("{unconfirmed} messages are not confirmed: the connection was lost");
        match self.link.take() {
            Some(end) => {
                match end.close().await {
                    Err(error) if super::link::recovers::<J>() && is_transient(&error) => {
                        if unconfirmed == 0 { Ok(()) } else { Err(error).with_context(lost) }
                    }
                    closed => closed,
                }
            }
            None if unconfirmed == 0 => Ok(()),
            None => bail!(lost()),
        }
    }
}
