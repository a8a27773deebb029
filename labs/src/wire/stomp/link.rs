//! What the STOMP labs share: a connection that sends, with many messages on
//! their way, and one that receives, where nothing is read ahead of need.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use lapin::uri::AMQPUri;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, unconstrained};
use tokio_util::codec::{Framed, FramedRead};

use super::{Codec, Command, Frame, Outgoing, encode};
use crate::lab::Place;
use crate::wire::pending::Pending;
use crate::wire::window::Window;

/// STOMP's usual port.
const PORT: u16 = 61613;
/// Accepted bytes that are written without waiting for a flush.
const WRITE_AT: usize = 16 << 10;
/// Accepted and unwritten bytes at which who sends waits.
const MOST_UNWRITTEN: usize = 256 << 10;
/// How much is read at once.
const READ: usize = 64 << 10;
/// Messages whose receipts are waited for, and their bytes.
const ON_THEIR_WAY: (usize, usize) = (1024, 4 << 20);

/// Connects, and logs in at the virtual host of the broker's address. No
/// heart-beats are asked for: the kernel tells when a local peer has gone.
async fn connect(place: &Place) -> Result<Framed<TcpStream, Codec>> {
    let door = place.door("stomp", PORT)?;
    let (host, port) = (door.host.as_str(), door.port);
    let uri: AMQPUri = place.url()?.parse().map_err(|error: String| anyhow!(error))?;
    let socket = TcpStream::connect((host, port)).await.with_context(|| {
        format!("cannot connect to RabbitMQ's STOMP plugin at {host}:{port}; is it enabled?")
    })?;
    socket.set_nodelay(true)?;
    let mut frames = Framed::with_capacity(socket, Codec::default(), READ);
    let headers = [
        ("accept-version", "1.2"),
        ("host", uri.vhost.as_str()),
        ("heart-beat", "0,0"),
        ("login", uri.authority.userinfo.username.as_str()),
        ("passcode", uri.authority.userinfo.password.as_str()),
    ];
    frames.send(Outgoing { command: Command::Connect, headers: &headers, body: b"" }).await?;
    let answer = frames.next().await.context("RabbitMQ has closed the connection")??;
    match answer.command {
        Command::Connected => Ok(frames),
        _ => Err(refusal(&answer)),
    }
}

/// What an ERROR frame says. RabbitMQ closes the connection behind some of them.
fn refusal(frame: &Frame) -> Error {
    let message = frame.header("message").unwrap_or_default();
    anyhow!("RabbitMQ says {message}: {}", String::from_utf8_lossy(&frame.body).trim_end())
}

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

/// The destination that is this place's queue. RabbitMQ declares it, durable,
/// when it is first sent or subscribed to.
pub(crate) fn queue(place: &Place) -> String {
    format!("/queue/{}", literally(&place.name()))
}

/// What stands before the topics of this place, as the routing keys of the one
/// exchange that all places share, `amq.topic`: its name as a single word, or
/// a part's topics would be topics of the whole.
pub(crate) fn topics(place: &Place) -> String {
    format!("/topic/{}.", literally(&place.name().replace('.', "~")))
}

/// In a destination, as in a URL, slashes separate and percent signs escape.
fn literally(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
