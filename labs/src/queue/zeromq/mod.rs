//! A queue over ØMQ's ROUTER and DEALER sockets without a broker: acks and retries of our own, and
//! heartbeats that tell which peers are alive (ØMQ's guide calls the pattern the Paranoid Pirate). ØMQ
//! itself promises nothing: what a socket has accepted may be lost with its connection, and nobody is
//! told.
//!
//! Wire: producers bind a ROUTER, and a consumer connects a DEALER to each of them. A consumer says how
//! many unsettled deliveries it will hold, and repeats that as a heartbeat; the producer delivers, and
//! the consumer acks or nacks. A message that has failed `max-attempts` times becomes a dead letter in
//! the producer's memory. Numbers are big-endian; the table of frames is at `take_deliveries` below.
//!
//! Confirms: a message when a consumer has acked it; only then has another process answered for it.
//! `send` waits for that, and for room while the producer holds `high-water` messages; of a dead letter
//! it is an error. `close` waits up to `linger-ms`, and says how many were not acked.
//!
//! Survives: kill -9 of a consumer: one that was silent for `lease-ms`, or that leaves, gives back what
//! it held, and other consumers get it, with the next attempt number. After a cut connection or a
//! restart of the producer, the consumer itself (`stay_connected` below) connects again; it notices the
//! loss when no heartbeat comes for `lease-ms`. A cut connection loses nothing, but what was not acked
//! comes again after `lease-ms`, and may be done twice.
//!
//! Loses: with the producer, everything that was not confirmed, and its dead letters: they are in
//! memory only. A consumer that sends heartbeats and never settles keeps what it holds, at most 4,096
//! messages.
//!
//! Run it: `just lab queue-zeromq`. Watch it: `ss -tnp`.

mod memory;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::Instant;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::{Confirmed, MAX_ATTEMPTS, Producer, Queue};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::recovery::{Delays, Retry};
use crate::wire::peer_queue::{
    ConnectionEnd, MultiConsumer, PeerLetter, PeerLetters, ProducerTask, QueueFrame, heartbeat,
};
use crate::wire::zmq;
use memory::MemoryQueue;

const HIGH_WATER: Knob =
    Knob::new("high-water", 10_000, "Messages the producer holds; more of them, and their senders, wait.");
const LEASE_MS: Knob = Knob::new(
    "lease-ms",
    1_000,
    "Milliseconds without a sign of life after which a peer is taken to be gone.",
);
const LINGER_MS: Knob =
    Knob::new("linger-ms", 5_000, "Milliseconds that closing waits for the connected consumers.");

/// How long a producer that is asked about its dead letters may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// `queue-zeromq`.
pub struct ZeroMq(Place);

impl Lab for ZeroMq {
    const TRANSPORT: &'static str = "zeromq";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[HIGH_WATER, LEASE_MS, LINGER_MS, MAX_ATTEMPTS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl ZeroMq {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.0.knob(LEASE_MS).max(4) as u64)
    }
}

impl Queue for ZeroMq {
    const CONFIRMED: Confirmed = Confirmed::Acked;
    type Producer = ZeroMqProducer;
    type Consumer = MultiConsumer;
    type DeadLetters = PeerLetters;

    async fn producer(&self) -> Result<ZeroMqProducer> {
        let high_water = self.0.knob(HIGH_WATER).max(1);
        let linger = Duration::from_millis(self.0.knob(LINGER_MS) as u64);
        let queue = MemoryQueue::bind(&self.0, self.lease()).await?;
        Ok(ZeroMqProducer(ProducerTask::start(|sends| queue.run(sends, high_water, linger))))
    }

    async fn consumer(&self, prefetch: u16) -> Result<MultiConsumer> {
        let lease = self.lease();
        MultiConsumer::join(&self.0, prefetch, |address, end| stay_connected(address, lease, end)).await
    }

    async fn dead_letters(&self) -> Result<PeerLetters> {
        // Nobody else has them.
        let producers = self.0.known_peers().context("no producer is known that holds dead letters")?;
        Ok(PeerLetters::of(producers, |address, question| ask(address, question).boxed_local()))
    }
}

/// The producing end. Its task, the [`MemoryQueue`], holds messages until they are acked.
pub struct ZeroMqProducer(ProducerTask);

impl Producer for ZeroMqProducer {
    /// Confirmed: a consumer has acked it.
    async fn send(&self, body: Bytes) -> Result<()> {
        self.0.send(zmq::check(body)?).await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A consumer's connection to one producer. It is made again until the consumer has gone. An
/// error when there is nobody at the address in the first place.
///
/// The crate's DEALER does not connect again by itself, and does not say that it has lost its
/// peer: only the heartbeats that do not come tell.
async fn stay_connected(address: String, lease: Duration, mut end: ConnectionEnd) -> Result<()> {
    let mut socket = connect(&address).await?;
    let mut retry = Retry::after_a_loss();
    let mut steady = Instant::now() + Delays::default().steady;
    while take_deliveries(&mut socket, lease, &mut end).await.is_err() {
        end.disconnected().await;
        // One that accepts and closes again is not back: the waits go on growing.
        if Instant::now() > steady {
            retry = Retry::after_a_loss();
        }
        socket = loop {
            tokio::time::sleep(retry.delay()).await;
            // The crate gives up connecting after 30 s: too long for one that comes back.
            if let Ok(Ok(socket)) = tokio::time::timeout(lease, connect(&address)).await {
                break socket;
            }
        };
        steady = Instant::now() + Delays::default().steady;
    }
    Ok(())
}

/// Asks a producer about its dead letters.
async fn ask(address: String, question: QueueFrame) -> Result<Vec<QueueFrame>> {
    let asking = async {
        let mut socket = connect(&address).await?;
        socket.send(ZmqMessage::from(question.head())).await?;
        let mut answers = Vec::new();
        while !matches!(answers.last(), Some(QueueFrame::Found(_))) {
            answers.push(decode(socket.recv().await?)?);
        }
        Ok(answers)
    };
    let answered = tokio::time::timeout(ANSWER, asking).await;
    answered.unwrap_or_else(|_| bail!("the producer at {address} does not answer"))
}

async fn connect(address: &str) -> Result<DealerSocket> {
    let address = format!("tcp://{}", address.trim_start_matches("tcp://"));
    let mut socket = DealerSocket::new();
    let connected = socket.connect(&address).await;
    connected.with_context(|| format!("cannot connect to {address}; is the other side running?"))?;
    Ok(socket)
}

/// Joins, hands on deliveries, and sends heartbeats and what the consumer has settled. Returns
/// when the consumer has gone; an error when the producer is silent.
///
/// The frames. A token is the consumer's number for one frame, so that an answer names what it answers.
/// Other frames show and return dead letters (`peer_queue/frame.rs`).
///
/// ```text
/// producer: send → keep in memory → deliver → confirm when acked
/// DEALER → ROUTER   J limit(4)              I am here, and hold so many at most; a heartbeat
/// DEALER ← ROUTER   W queue(8)              the answer to each J
/// DEALER ← ROUTER   M id(8) attempt(4)      a delivery; its body is a second frame
/// DEALER → ROUTER   A token(8) id(8)…       these are done;  N id(8)…: deliver again
/// DEALER ← ROUTER   D token(8)              the acks are known
/// DEALER → ROUTER   L token(8)              I leave, and give back the rest;  K token(8)
/// ```
async fn take_deliveries(socket: &mut DealerSocket, lease: Duration, end: &mut ConnectionEnd) -> Result<()> {
    let mut beat = heartbeat(Some(lease));
    let (mut heard, mut known, mut leaving) = (Instant::now(), None, false);
    loop {
        tokio::select! {
            message = socket.recv() => {
                heard = Instant::now();
                let frame = decode(message?)?;
                // Only the first welcome is of interest, the others are heartbeats; but
                // one from another queue means that the first producer is gone.
                if let QueueFrame::Welcome(log) = frame {
                    match known.replace(log) {
                        None => {}
                        Some(before) if before == log => continue,
                        Some(_) => bail!("another producer answers"),
                    }
                }
                end.received(frame).await;
            }
            frame = end.next_to_write() => {
                let Some(frame) = frame else { return Ok(()) };
                leaving |= matches!(frame, QueueFrame::Leave(_));
                socket.send(ZmqMessage::from(frame.head())).await?;
            }
            // A consumer that leaves does not join again.
            _ = beat.tick(), if !leaving => {
                if heard + lease < Instant::now() {
                    bail!("the producer is silent");
                }
                socket.send(ZmqMessage::from(QueueFrame::Join(end.limit).head())).await?;
            }
        }
    }
}

fn decode(message: ZmqMessage) -> Result<QueueFrame> {
    let mut parts = message.into_vec().into_iter();
    let mut frame = QueueFrame::decode(parts.next().unwrap_or_default())?;
    if let QueueFrame::Message(_, _, body) | QueueFrame::Dead(PeerLetter { body, .. }) = &mut frame {
        *body = parts.next().context("a message without a body")?;
    }
    Ok(frame)
}
