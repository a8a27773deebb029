//! A STOMP connection that receives, and reads nothing ahead of need.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context as _, Result};
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_util::codec::Framed;

use super::link::{connect, refusal};
use super::{Codec, Command, Frame, Outgoing, encode};
use crate::lab::Place;

/// A connection with one subscription. It is read when somebody wants a
/// message: what a slow consumer leaves stays in the socket, then at RabbitMQ.
pub(crate) struct Inbox {
    frames: Framed<TcpStream, Codec>,
    /// Messages that came while something else was waited for.
    came: VecDeque<Frame>,
    /// Settled and not told: the last wants a receipt, which stands for all.
    last: Option<(Command, String)>,
    untold: usize,
    batch: usize,
    asked: u64,
    answered: u64,
}

impl Inbox {
    /// Subscribes without acks: RabbitMQ forgets a message when it has sent it.
    pub(crate) async fn subscribe(place: &Place, destination: &str) -> Result<Self> {
        Self::with(place, &[("destination", destination), ("ack", "auto")], 0).await
    }

    /// Subscribes with an ack for each message, at most `prefetch` unsettled.
    pub(crate) async fn with_acks(place: &Place, headers: &[(&str, &str)], prefetch: u16) -> Result<Self> {
        let prefetch = prefetch.max(1);
        let count = prefetch.to_string();
        let acks = [("ack", "client-individual"), ("prefetch-count", count.as_str())];
        Self::with(place, &[headers, &acks[..]].concat(), prefetch).await
    }

    async fn with(place: &Place, headers: &[(&str, &str)], prefetch: u16) -> Result<Self> {
        // Half the prefetch: RabbitMQ delivers on while acks are on their way.
        let batch = (usize::from(prefetch) / 2).clamp(1, 128);
        let (frames, came) = (connect(place).await?, VecDeque::new());
        let mut inbox = Self { frames, came, last: None, untold: 0, batch, asked: 0, answered: 0 };
        inbox.put(Command::Subscribe, headers)?;
        inbox.answer().await.context("cannot subscribe")?;
        Ok(inbox)
    }

    /// The next message; what was settled is told before this waits. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some(message) = self.came.pop_front() {
                return Ok(message);
            }
            let frame = match unconstrained(self.frames.next()).now_or_never() {
                Some(frame) => frame,
                None => {
                    self.tell()?;
                    self.write().await?;
                    if !self.came.is_empty() {
                        continue;
                    }
                    self.frames.next().await
                }
            };
            self.take(frame)?;
        }
    }

    /// ACK or NACK for the message with this `ack` header; may wait for company.
    pub(crate) async fn settle(&mut self, command: Command, id: String) -> Result<()> {
        if let Some((command, id)) = self.last.replace((command, id)) {
            self.encode(command, &[("id", &id)])?;
        }
        self.untold += 1;
        if self.untold < self.batch {
            return Ok(());
        }
        self.tell()?;
        self.write().await
    }

    /// RabbitMQ knows all that was settled.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.tell()?;
        self.answer().await
    }

    /// Ends the subscription. With `headers` it may end more than that.
    pub(crate) async fn unsubscribe(&mut self, headers: &[(&str, &str)]) -> Result<()> {
        self.put(Command::Unsubscribe, headers)?;
        self.answer().await
    }

    /// Says good-bye: what is unsettled goes back before the answer comes.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.tell()?;
        self.put(Command::Disconnect, &[])?;
        self.answer().await
    }

    fn tell(&mut self) -> Result<()> {
        self.untold = 0;
        match self.last.take() {
            Some((command, id)) => self.put(command, &[("id", &id)]),
            None => Ok(()),
        }
    }

    /// Accepts a frame, and asks for its receipt. A subscription is `0`: there is one.
    fn put(&mut self, command: Command, headers: &[(&str, &str)]) -> Result<()> {
        self.asked += 1;
        let receipt = self.asked.to_string();
        let id = headers.iter().all(|(name, _)| *name != "id");
        let id: &[_] = if id && command != Command::Disconnect { &[("id", "0")] } else { &[] };
        self.encode(command, &[headers, id, &[("receipt", &receipt)]].concat())
    }

    fn encode(&mut self, command: Command, headers: &[(&str, &str)]) -> Result<()> {
        encode(Outgoing { command, headers, body: b"" }, self.frames.write_buffer_mut())
    }

    /// Writes, and waits for the receipts that were asked for.
    async fn answer(&mut self) -> Result<()> {
        self.write().await?;
        while self.answered < self.asked {
            let frame = self.frames.next().await;
            self.take(frame)?;
        }
        Ok(())
    }

    /// Writes, and reads what comes meanwhile: two sides that only write stop
    /// each other. The prefetch says how much can come. Cancel-safe.
    async fn write(&mut self) -> Result<()> {
        poll_fn(|cx| {
            loop {
                let frames = Pin::new(&mut self.frames);
                if let Poll::Ready(written) = futures_util::Sink::<Outgoing<'_>>::poll_flush(frames, cx) {
                    return Poll::Ready(written);
                }
                match self.frames.poll_next_unpin(cx) {
                    Poll::Ready(frame) => self.take(frame)?,
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    fn take(&mut self, frame: Option<Result<Frame>>) -> Result<()> {
        let frame = frame.context("RabbitMQ has closed the connection")??;
        match frame.command {
            Command::Message => self.came.push_back(frame),
            Command::Receipt => self.answered += 1,
            Command::Error => return Err(refusal(&frame)),
            _ => {}
        }
        Ok(())
    }
}
