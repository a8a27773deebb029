//! A STOMP connection that sends, with many messages in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Error, Result, anyhow};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::codec::FramedRead;

use super::codec::{Codec, Command, Frame, Outgoing, encode};
use super::{READ_BYTES, connect, next_frame, refusal};
use crate::lab::Place;
use crate::printable::causes;
use crate::recovery::{disconnected, is_transient};
use crate::reqrep::correlation::Pending;
use crate::wire::window::Window;

/// Accepted bytes that are written without waiting for a flush.
const WRITE_AT: usize = 16 << 10;
/// Accepted and unwritten bytes at which a sender has to wait.
const MOST_UNWRITTEN: usize = 256 << 10;
/// Frames in flight whose RECEIPT frames a flush waits for, and their bytes.
const IN_FLIGHT: usize = 1024;
const BYTES_IN_FLIGHT: usize = 4 << 20;

/// A connection that sends. A task of its own writes what was accepted and reads RECEIPT frames at the
/// same time. A client that only writes would block: RabbitMQ stops reading when nobody takes
/// its RECEIPT frames.
pub(crate) struct ProducerConnection {
    shared: Arc<Shared>,
    /// Who waits for which RECEIPT frame.
    receipts: Pending,
    task: JoinHandle<()>,
    /// Frames whose RECEIPT frames a flush waits for.
    in_flight: Window,
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
    /// Why nothing can be sent any more, and whether a new connection may help.
    ended: Option<(String, bool)>,
}

impl ProducerConnection {
    /// A connection on which only RECEIPT frames are expected.
    pub(crate) async fn open(place: &Place) -> Result<Self> {
        Self::open_with(place, |_| ()).await
    }

    /// A connection that passes every MESSAGE to `on_message`.
    pub(crate) async fn open_with(
        place: &Place,
        on_message: impl FnMut(Frame) + Send + 'static,
    ) -> Result<Self> {
        let parts = connect(place).await?.into_parts();
        let (read, write) = parts.io.into_split();
        let mut read = FramedRead::with_capacity(read, parts.codec, READ_BYTES);
        *read.read_buffer_mut() = parts.read_buf;
        let (shared, receipts) = (Arc::<Shared>::default(), Pending::default());
        let task = tokio::spawn(carry(read, write, shared.clone(), receipts.clone(), on_message));
        let in_flight = Window::new(IN_FLIGHT, BYTES_IN_FLIGHT);
        Ok(Self { shared, receipts, task, in_flight })
    }

    /// Accepts a frame. It is written when many have come together, or by
    /// [`ProducerConnection::write`].
    pub(crate) fn put(&self, command: Command, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut state = self.shared.lock();
        if let Some(ended) = &state.ended {
            return Err(ended_because(ended));
        }
        encode(Outgoing { command, headers, body }, &mut state.unwritten)?;
        if state.unwritten.len() >= WRITE_AT {
            self.shared.write.notify_one();
        }
        Ok(())
    }

    /// Accepts a frame with a header `receipt`. What is returned resolves when the RECEIPT frame has come.
    pub(crate) fn put_for_receipt(
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

    /// Accepts a frame with a header `receipt`, which [`ProducerConnection::flush`] waits for.
    pub(crate) fn put_in_flight(
        &mut self,
        command: Command,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<()> {
        let receipt = self.put_for_receipt(command, headers, body)?;
        self.in_flight.put(body.len(), receipt)
    }

    /// Has what was accepted written soon.
    pub(crate) fn write(&self) {
        self.shared.write.notify_one();
    }

    /// Waits until more bytes may be accepted. Cancel-safe.
    pub(crate) async fn room(&self) -> Result<()> {
        while self.shared.check()? >= MOST_UNWRITTEN {
            let mut written = std::pin::pin!(self.shared.written.notified());
            // From here on no notification is missed.
            written.as_mut().enable();
            self.shared.write.notify_one();
            if self.shared.check()? >= MOST_UNWRITTEN {
                written.await;
            }
        }
        Ok(())
    }

    /// Waits until one more RECEIPT frame may be awaited. Cancel-safe.
    pub(crate) async fn room_in_flight(&mut self) -> Result<()> {
        self.room().await?;
        self.in_flight.room().await
    }

    /// Writes what was accepted, and waits for the RECEIPT frames in flight. Cancel-safe.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.write();
        self.in_flight.drain().await
    }

    /// Flushes and disconnects: DISCONNECT asks for a RECEIPT frame, too.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.flush().await?;
        let receipt = self.put_for_receipt(Command::Disconnect, &[], b"")?;
        self.write();
        receipt.await
    }
}

impl Drop for ProducerConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes are not written, or why nothing will be written any more.
    fn check(&self) -> Result<usize> {
        let state = self.lock();
        match &state.ended {
            Some(ended) => Err(ended_because(ended)),
            None => Ok(state.unwritten.len()),
        }
    }

    fn why(&self) -> Error {
        match &self.lock().ended {
            Some(ended) => ended_because(ended),
            None => disconnected("the connection is closed"),
        }
    }
}

fn ended_because((why, transient): &(String, bool)) -> Error {
    if *transient { disconnected(why.clone()) } else { anyhow!("{why}") }
}

/// Writes and reads until the connection ends. Then everybody who waits gets the reason.
async fn carry(
    mut read: FramedRead<OwnedReadHalf, Codec>,
    mut write: OwnedWriteHalf,
    shared: Arc<Shared>,
    receipts: Pending,
    mut on_message: impl FnMut(Frame),
) {
    let reading = async {
        loop {
            let frame = next_frame(&mut read, |read| read.decoder().heard()).await?;
            match frame.command {
                Command::Receipt => {
                    let id = frame.header("receipt-id").and_then(|id| id.parse().ok());
                    receipts.hand_out(id.unwrap_or_default(), Bytes::new());
                }
                Command::Error => return Err::<(), _>(refusal(&frame)),
                _ => on_message(frame),
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
    // Reading comes first: an ERROR frame says why, before a write notices that the connection is
    // closed.
    let ended = tokio::select! { biased; ended = reading => ended, ended = writing => ended };
    shared.lock().ended = ended.err().map(|error| (causes(&error), is_transient(&error)));
    receipts.close();
    shared.written.notify_waiters();
}
