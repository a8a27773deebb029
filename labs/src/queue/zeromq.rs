//! A queue over ØMQ's ROUTER and DEALER sockets without a broker: acks and
//! retries of our own, and heartbeats that tell who is still there (ØMQ's guide
//! calls the pattern the Paranoid Pirate). ØMQ itself promises nothing: what a
//! socket has accepted may be lost with its connection, and nobody is told.
//!
//! The producer holds each message in memory until a consumer has acked it;
//! only then is it confirmed, for only then has another process answered for
//! it. A consumer not heard of for `LEASE_MS`, or one that leaves, gives back
//! what it held; it goes to others, its attempt counted.
//!
//! Survives: kill -9 of a consumer, which may have done some of it: twice
//! done. Not that of the producer: what was not confirmed is gone with it.
//!
//! Run it with `just lab queue-zeromq`.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use super::{Confirmed, Producer, Queue};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::wire::keeper::Keeper;
use crate::wire::lines::Lines;
use crate::wire::zmq::held::Held;
use crate::wire::zmq::pirate;

const HIGH_WATER: Knob =
    Knob::new("high-water", 10_000, "Messages the producer holds; more of them, and their senders, wait.");
const LEASE_MS: Knob = Knob::new(
    "lease-ms",
    1_000,
    "Milliseconds without a sign of life after which a peer is taken to be gone.",
);
const LINGER_MS: Knob =
    Knob::new("linger-ms", 5_000, "Milliseconds that closing waits for the connected consumers.");

/// `queue-zeromq`.
pub struct ZeroMq(Place);

impl Lab for ZeroMq {
    const TRANSPORT: &'static str = "zeromq";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[HIGH_WATER, LEASE_MS, LINGER_MS];

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
    type Consumer = Lines;

    async fn producer(&self) -> Result<ZeroMqProducer> {
        let high_water = self.0.knob(HIGH_WATER).max(1);
        let linger = Duration::from_millis(self.0.knob(LINGER_MS) as u64);
        let held = Held::bind(&self.0, self.lease()).await?;
        Ok(ZeroMqProducer(Keeper::start(|letters| held.keep(letters, high_water, linger))))
    }

    async fn consumer(&self, prefetch: u16) -> Result<Lines> {
        let lease = self.lease();
        Lines::join(&self.0, prefetch, |address, end| pirate::keep(address, lease, end)).await
    }
}

/// Holds its messages until they are acked.
pub struct ZeroMqProducer(Keeper);

impl Producer for ZeroMqProducer {
    /// Confirmed: a consumer has acked it.
    async fn send(&self, body: Bytes) -> Result<()> {
        self.0.send(body).await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
