//! A queue over plain TCP without a broker: an outbox. The producer writes
//! each message to a log of its own, in a file, delivers it to consumers that
//! connect, and delivers again what none has acked. Many messages share a commit.
//!
//! Confirmed: the message is in the log. A consumer that has gone gives back
//! what it held; a producer that comes back, with its log and at its address,
//! goes on where it died, and marks what it finds as attempt 2, not knowing
//! what had been delivered. A consumer drops what comes again after it acked
//! it; another one cannot know.
//!
//! Survives: kill -9 of a consumer; of the producer, once it is started again:
//! until then its messages are out of reach; a power cut if `FSYNC` is 1.
//!
//! Run it with `just lab queue-tcp`.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use super::{Confirmed, Producer, Queue};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::wire::keeper::Keeper;
use crate::wire::lines::Lines;
use crate::wire::outbox::Outbox;
use crate::wire::{line, log};

/// 0 is enough for kill -9; after a power cut the log may be unreadable.
const FSYNC: Knob = Knob::new(
    "fsync",
    1,
    "1: messages are on disk before they are confirmed; 0: the operating system has them.",
);
const LINGER_MS: Knob =
    Knob::new("linger-ms", 5_000, "Milliseconds that closing waits for the connected consumers.");

/// `queue-tcp`.
pub struct Tcp(Place);

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[FSYNC, LINGER_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(place: &Place) -> Result<()> {
        log::remove(place)
    }
}

impl Queue for Tcp {
    const CONFIRMED: Confirmed = Confirmed::Stored;
    type Producer = TcpProducer;
    type Consumer = Lines;

    async fn producer(&self) -> Result<TcpProducer> {
        let linger = Duration::from_millis(self.0.knob(LINGER_MS) as u64);
        let outbox = Outbox::open(&self.0, self.0.knob(FSYNC) > 0).await?;
        Ok(TcpProducer(Keeper::start(|letters| outbox.keep(letters, linger))))
    }

    async fn consumer(&self, prefetch: u16) -> Result<Lines> {
        Lines::join(&self.0, prefetch, line::keep).await
    }
}

/// Writes to the log, and answers for what is in it.
pub struct TcpProducer(Keeper);

impl Producer for TcpProducer {
    async fn send(&self, body: Bytes) -> Result<()> {
        self.0.send(body).await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
