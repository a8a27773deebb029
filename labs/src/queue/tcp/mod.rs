//! A queue over plain TCP without a broker: an outbox. The producer writes each message to a log of its own,
//! in a file, delivers it to consumers that connect, and takes it out of the log when one has acked it.
//!
//! Wire: producers listen, and a consumer connects to all of them. A consumer says how many unsettled
//! deliveries it will hold, and repeats that as a heartbeat; the producer delivers, and the consumer acks or
//! nacks. A frame is four bytes of length, then a letter, numbers, all big-endian, a body. `take_deliveries`
//! below has the table. A message that has failed `max-attempts` times stays in the log as a dead letter.
//!
//! Confirms: a message when it is in the log, on disk if `fsync` is 1. Many messages, and many acks, share a
//! commit. `close` waits up to `linger-ms` for the consumers that are connected; the rest stays in the log.
//!
//! Survives: kill -9 of a consumer: one whose connection has gone, or that has sent nothing for `lease-ms`,
//! gives back what it held. Kill -9 of the producer: started again, with its log and at its address, it goes
//! on where it died; until then its messages are out of reach. A power cut, if `fsync` is 1. After a cut
//! connection or a restart of the producer, the consumer itself (`stay_connected` below) connects again, and
//! no confirmed message is lost; some come twice, marked as redeliveries: the producer does not know what had
//! been handled.
//!
//! Loses: messages that were not confirmed when the producer died; with `fsync` 0, after a power cut,
//! possibly the whole log. A consumer that sends heartbeats and never settles keeps what it holds, at most
//! 4,096 messages.
//!
//! Run it: `just lab queue-tcp`. Watch it: `ss -tnp`, and the size of the log below
//! `~/.local/state/messaging-lab` (`lab bench` and `lab run`: in a folder that goes with them).

mod dead;
mod log;
mod outbox;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;

use super::{Confirmed, MAX_ATTEMPTS, Producer, Queue};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::recovery::with_jitter;
use crate::wire::frames::FrameConnection;
use crate::wire::peer_queue::{ConnectionEnd, MultiConsumer, ProducerTask, QueueFrame, heartbeat};
pub use dead::TcpLetters;
use outbox::Outbox;

/// With 0, messages survive kill -9 of the producer, but a power cut can destroy the log.
const FSYNC: Knob = Knob::new(
    "fsync",
    1,
    "1: messages are on disk before they are confirmed; 0: the operating system has them.",
);
const LINGER_MS: Knob =
    Knob::new("linger-ms", 5_000, "Milliseconds that closing waits for the connected consumers.");

const LEASE_MS: Knob = Knob::new(
    "lease-ms",
    5_000,
    "Milliseconds after which a consumer that is silent gives back what it holds; 0: never.",
);

/// How long a consumer waits at most before it connects again; at least half of that, at random:
/// those who lost a producer together do not return together.
const RETRY: Duration = Duration::from_millis(100);

/// `queue-tcp`.
pub struct Tcp(Place);

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[FSYNC, LEASE_MS, LINGER_MS, MAX_ATTEMPTS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(place: &Place) -> Result<()> {
        log::remove(place)
    }
}

impl Tcp {
    /// After this, a consumer that is silent is taken to be gone.
    fn lease(&self) -> Option<Duration> {
        let lease = self.0.knob(LEASE_MS);
        (lease > 0).then(|| Duration::from_millis(lease.max(4) as u64))
    }
}

impl Queue for Tcp {
    const CONFIRMED: Confirmed = Confirmed::Stored;
    type Producer = TcpProducer;
    type Consumer = MultiConsumer;
    type DeadLetters = TcpLetters;

    async fn producer(&self) -> Result<TcpProducer> {
        let linger = Duration::from_millis(self.0.knob(LINGER_MS) as u64);
        let outbox = Outbox::open(&self.0, self.0.knob(FSYNC) > 0, self.lease()).await?;
        Ok(TcpProducer(ProducerTask::start(|sends| outbox.run(sends, linger))))
    }

    async fn consumer(&self, prefetch: u16) -> Result<MultiConsumer> {
        let lease = self.lease();
        MultiConsumer::join(&self.0, prefetch, |address, end| stay_connected(address, lease, end)).await
    }

    async fn dead_letters(&self) -> Result<TcpLetters> {
        TcpLetters::open(&self.0)
    }
}

/// The producing end. Its task, the [`Outbox`], writes to the log and delivers.
pub struct TcpProducer(ProducerTask);

impl Producer for TcpProducer {
    /// Confirmed: it is in the log.
    async fn send(&self, body: Bytes) -> Result<()> {
        self.0.send(body).await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A consumer's connection to one producer. It is made again until the consumer has gone. An
/// error when there is nobody at the address in the first place.
///
/// The producer delivers again what was unsettled. This consumer drops what it has acked before; another
/// one cannot know.
async fn stay_connected(address: String, lease: Option<Duration>, mut end: ConnectionEnd) -> Result<()> {
    let mut connection = FrameConnection::connect(&address).await?;
    while take_deliveries(&mut connection, lease, &mut end).await.is_err() {
        // The producer may be back soon, at the same address.
        end.disconnected().await;
        connection = loop {
            tokio::time::sleep(with_jitter(RETRY)).await;
            if let Ok(connection) = FrameConnection::connect(&address).await {
                break connection;
            }
        };
    }
    Ok(())
}

/// Joins, hands on deliveries, and writes what the consumer has settled, and heartbeats. Returns
/// when the consumer has gone; an error when the connection has broken.
///
/// The frames. A token is the consumer's number for one frame, so that an answer names what it answers.
/// Other frames show and return dead letters (`peer_queue/frame.rs`).
///
/// ```text
/// producer: send → commit to the log → confirm → deliver
/// consumer → producer   J limit(4)             join: deliver at most so many unsettled messages;
///                                              repeated as a heartbeat
/// consumer ← producer   W log(8)               answer to J: the ids below belong to this log
/// consumer ← producer   M id(8) attempt(4) …   a delivery, with its body
/// consumer → producer   A token(8) id(8)…      ack: these messages are done
/// consumer → producer   N id(8)…               nack: deliver these again
/// consumer ← producer   K token(8)             the producer has received this ack
/// consumer ← producer   D token(8)             this ack is in the log
/// consumer → producer   L token(8)             I leave, and give back the rest; answered by K
/// ```
async fn take_deliveries(
    connection: &mut FrameConnection,
    lease: Option<Duration>,
    end: &mut ConnectionEnd,
) -> Result<()> {
    let mut beat = heartbeat(lease);
    let (mut welcomed, mut leaving) = (false, false);
    loop {
        tokio::select! {
            bytes = connection.next() => {
                let mut next = Some(bytes?.context("the producer has gone")?);
                while let Some(bytes) = next {
                    let frame = QueueFrame::decode(bytes)?;
                    // The first welcome is news, the others answer heartbeats.
                    let again = matches!(frame, QueueFrame::Welcome(_)) && std::mem::replace(&mut welcomed, true);
                    if !again {
                        end.received(frame).await;
                    }
                    next = connection.buffered()?;
                }
            }
            frame = end.next_to_write() => {
                let Some(frame) = frame else { return Ok(()) };
                let mut next = Some(frame);
                while let Some(frame) = next {
                    leaving |= matches!(frame, QueueFrame::Leave(_));
                    connection.put(&[&frame.head()])?;
                    next = end.more_to_write();
                }
                connection.flush().await?;
            }
            // The first is at once, and joins. A consumer that leaves does not join again.
            _ = beat.tick(), if !leaving => {
                connection.put(&[&QueueFrame::Join(end.limit).head()])?;
                connection.flush().await?;
            }
        }
    }
}
