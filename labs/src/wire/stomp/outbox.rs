//! A STOMP connection that sends, with many messages on their way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::codec::FramedRead;

use super::link::{READ, connect, refusal};
use super::{Codec, Command, Frame, Outgoing, encode};
use crate::lab::Place;
use crate::reqrep::correlation::Pending;
use crate::wire::window::Window;

/// Accepted bytes that are written without waiting for a flush.
const WRITE_AT: usize = 16 << 10;
/// Accepted and unwritten bytes at which who sends waits.
const MOST_UNWRITTEN: usize = 256 << 10;
/// Messages whose receipts are waited for, and their bytes.
const ON_THEIR_WAY: (usize, usize) = (1024, 4 << 20);

/// A connection that sends. A task of its own writes what was accepted and
/// reads receipts at the same time: who only writes would stop RabbitMQ, whose
/// receipts nobody takes, and then itself.
pub(crate) struct Outbox {
    shared: Arc<Shared>,
    receipts: Pending,
    task: JoinHandle<()>,
    /// Written last, and so kept back: a flush wants a receipt for it.
    last: Option<(String, Bytes)>,
    on_their_way: Window,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    write: Notify,
    written: Notify,
}

#[derive(Default)]
struct State {
    unwritten: BytesMut,
    /// Why nothing can be sent any more.
    ended: Option<String>,
}

impl Outbox {
    /// A connection where nothing but receipts is expected.
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        Self::hearing(place, |_| ()).await
    }

    /// A connection that hands on what comes.
    pub(crate) async fn hearing(place: &Place, heard: impl FnMut(Frame) + Send + 'static) -> Result<Self> {
        let parts = connect(place).await?.into_parts();
        let (read, write) = parts.io.into_split();
        let mut read = FramedRead::with_capacity(read, parts.codec, READ);
        *read.read_buffer_mut() = parts.read_buf;
        let (shared, receipts) = (Arc::<Shared>::default(), Pending::default());
        let task = tokio::spawn(carry(read, write, shared.clone(), receipts.clone(), heard));
        let on_their_way = Window::new(ON_THEIR_WAY.0, ON_THEIR_WAY.1);
        Ok(Self { shared, receipts, task, last: None, on_their_way })
    }

    /// Accepts a message; a flush asks for the receipt of the last one only.
    /// RabbitMQ serves a connection in order, so what came before has been
    /// routed by then. Cancel-safe.
    pub(crate) async fn send(&mut self, destination: String, body: Bytes) -> Result<()> {
        self.room().await?;
        match self.last.replace((destination, body)) {
            Some((before, body)) => self.put(Command::Send, &[("destination", &before)], &body),
            None => Ok(()),
        }
    }

    /// Accepts a message whose receipt a flush waits for, as for that of any
    /// other: on disk, one message may be before another that was sent earlier.
    pub(crate) async fn send_with_receipt(&mut self, headers: &[(&str, &str)], body: Bytes) -> Result<()> {
        self.room().await?;
        self.on_their_way.room().await?;
        let (bytes, receipt) = (body.len(), self.put_for_receipt(Command::Send, headers, &body)?);
        self.on_their_way.put(bytes, receipt)
    }

    /// Sends a message; returns when its receipt has come.
    pub(crate) async fn confirmed(&self, headers: &[(&str, &str)], body: Bytes) -> Result<()> {
        self.room().await?;
        let receipt = self.put_for_receipt(Command::Send, headers, &body)?;
        self.shared.write.notify_one();
        receipt.await
    }

    /// Returns when RabbitMQ has given the receipts that were asked for.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if let Some((destination, body)) = self.last.take() {
            let receipt = self.put_for_receipt(Command::Send, &[("destination", &destination)], &body)?;
            self.on_their_way.put(0, receipt)?;
        }
        self.shared.write.notify_one();
        self.on_their_way.drain().await
    }

    /// Flushes, and says good-bye.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.flush().await?;
        let receipt = self.put_for_receipt(Command::Disconnect, &[], b"")?;
        self.shared.write.notify_one();
        receipt.await
    }

    /// Waits until more may be accepted. Cancel-safe.
    pub(crate) async fn room(&self) -> Result<()> {
        while self.shared.check()? >= MOST_UNWRITTEN {
            let mut written = std::pin::pin!(self.shared.written.notified());
            // From here on nothing is missed.
            written.as_mut().enable();
            self.shared.write.notify_one();
            if self.shared.check()? >= MOST_UNWRITTEN {
                written.await;
            }
        }
        Ok(())
    }

    /// Accepts a frame; it is written when many have come together, or by [`Outbox::write`].
    pub(crate) fn put(&self, command: Command, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut state = self.shared.lock();
        if let Some(why) = &state.ended {
            bail!("{why}");
        }
        encode(Outgoing { command, headers, body }, &mut state.unwritten)?;
        if state.unwritten.len() >= WRITE_AT {
            self.shared.write.notify_one();
        }
        Ok(())
    }

    /// Has what was accepted written soon.
    pub(crate) fn write(&self) {
        self.shared.write.notify_one();
    }

    fn put_for_receipt(
        &self,
        command: Command,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<impl Future<Output = Result<()>> + use<>> {
        let ticket = self.receipts.register().map_err(|_| self.shared.why())?;
        let id = ticket.id().to_string();
        self.put(command, &[headers, &[("receipt", &id)]].concat(), body)?;
        let shared = self.shared.clone();
        Ok(async move { ticket.reply().await.map(drop).map_err(|_| shared.why()) })
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is not written, or why nothing will be.
    fn check(&self) -> Result<usize> {
        let state = self.lock();
        match &state.ended {
            Some(why) => bail!("{why}"),
            None => Ok(state.unwritten.len()),
        }
    }

    fn why(&self) -> Error {
        anyhow!(self.lock().ended.clone().unwrap_or_else(|| "the connection is closed".to_owned()))
    }
}

/// Writes and reads until the connection ends; then everybody who waits hears why.
async fn carry(
    mut read: FramedRead<OwnedReadHalf, Codec>,
    mut write: OwnedWriteHalf,
    shared: Arc<Shared>,
    receipts: Pending,
    mut heard: impl FnMut(Frame),
) {
    let reading = async {
        loop {
            let frame = read.next().await.context("RabbitMQ has closed the connection")??;
            match frame.command {
                Command::Receipt => {
                    let id = frame.header("receipt-id").and_then(|id| id.parse().ok());
                    receipts.hand_out(id.unwrap_or_default(), Bytes::new());
                }
                Command::Error => return Err::<(), _>(refusal(&frame)),
                _ => heard(frame),
            }
        }
    };
    let writing = async {
        loop {
            let mut chunk = shared.lock().unwritten.split();
            if chunk.is_empty() {
                shared.write.notified().await;
                continue;
            }
            write.write_all_buf(&mut chunk).await.context("lost the connection to RabbitMQ")?;
            shared.written.notify_waiters();
        }
    };
    // Why it refused is read before that it no longer listens is noticed.
    let ended = tokio::select! { biased; ended = reading => ended, ended = writing => ended };
    shared.lock().ended = ended.err().map(|error| format!("{error:#}"));
    receipts.close();
    shared.written.notify_waiters();
}
