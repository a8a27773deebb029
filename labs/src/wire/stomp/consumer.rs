//! A STOMP connection that receives, and reads nothing before it is wanted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context as _, Result};
use futures_util::{FutureExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio_util::codec::Framed;

use super::codec::{Codec, Command, Frame, Outgoing, encode};
use super::{CLOSED, connect, next_frame, refusal};
use crate::lab::Place;

/// A connection with one subscription. It is read when somebody wants a message: what a slow
/// consumer has not read stays in the socket, then in RabbitMQ.
pub(crate) struct ConsumerConnection {
    frames: Framed<TcpStream, Codec>,
    /// Messages that came while something else was waited for.
    messages: VecDeque<Frame>,
    /// The ACK or NACK that was accepted last. It is kept back, because the last frame of a batch
    /// asks for a RECEIPT frame, which stands for all of them.
    last: Option<(Command, String)>,
    /// Accepted and not written.
    unwritten: usize,
    batch: usize,
    /// RECEIPT frames that were asked for, and that have come.
    asked: u64,
    answered: u64,
}

impl ConsumerConnection {
    /// Connects. The consumer will have at most `prefetch` unacked messages; 0 without acks.
    pub(crate) async fn open(place: &Place, prefetch: u16) -> Result<Self> {
        // Half the prefetch: RabbitMQ goes on delivering while acks are on the way.
        let batch = (usize::from(prefetch) / 2).clamp(1, 128);
        let (frames, messages) = (connect(place).await?, VecDeque::new());
        Ok(Self { frames, messages, last: None, unwritten: 0, batch, asked: 0, answered: 0 })
    }

    /// Writes a frame with a header `receipt`, and waits for the RECEIPT frame.
    pub(crate) async fn request(&mut self, command: Command, headers: &[(&str, &str)]) -> Result<()> {
        self.put_for_receipt(command, headers)?;
        self.answer().await
    }

    /// The next message. Acks that wait are written before this waits. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Ok(message);
            }
            let frame = match unconstrained(self.frames.next()).now_or_never() {
                Some(frame) => frame,
                None => {
                    self.put_last()?;
                    self.write().await?;
                    if !self.messages.is_empty() {
                        continue;
                    }
                    Some(next_frame(&mut self.frames, |frames| frames.codec().heard()).await)
                }
            };
            self.take(frame)?;
        }
    }

    /// Accepts an ACK or NACK for the message with this `ack` header. Half a prefetch of them are
    /// written together.
    pub(crate) async fn settle(&mut self, command: Command, id: String) -> Result<()> {
        if let Some((command, id)) = self.last.replace((command, id)) {
            self.encode(command, &[("id", &id)])?;
        }
        self.unwritten += 1;
        if self.unwritten < self.batch {
            return Ok(());
        }
        self.put_last()?;
        self.write().await
    }

    /// Waits until RabbitMQ knows all that was settled.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.put_last()?;
        self.answer().await
    }

    /// Disconnects. Unsettled messages go back to the queue before the RECEIPT frame comes.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.put_last()?;
        self.request(Command::Disconnect, &[]).await
    }

    fn put_last(&mut self) -> Result<()> {
        self.unwritten = 0;
        match self.last.take() {
            Some((command, id)) => self.put_for_receipt(command, &[("id", &id)]),
            None => Ok(()),
        }
    }

    fn put_for_receipt(&mut self, command: Command, headers: &[(&str, &str)]) -> Result<()> {
        self.asked += 1;
        let receipt = self.asked.to_string();
        self.encode(command, &[headers, &[("receipt", &receipt)]].concat())
    }

    fn encode(&mut self, command: Command, headers: &[(&str, &str)]) -> Result<()> {
        encode(Outgoing { command, headers, body: b"" }, self.frames.write_buffer_mut())
    }

    /// Writes, and waits for every RECEIPT frame that was asked for.
    async fn answer(&mut self) -> Result<()> {
        self.write().await?;
        while self.answered < self.asked {
            let frame = next_frame(&mut self.frames, |frames| frames.codec().heard()).await;
            self.take(Some(frame))?;
        }
        Ok(())
    }

    /// Writes, and reads what comes meanwhile: two sides that only write would block each other.
    /// The prefetch bounds how much can come. Cancel-safe.
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
        let frame = frame.context(CLOSED)??;
        match frame.command {
            Command::Message => self.messages.push_back(frame),
            Command::Receipt => self.answered += 1,
            Command::Error => return Err(refusal(&frame)),
            _ => {}
        }
        Ok(())
    }
}
