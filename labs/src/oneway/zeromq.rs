//! One-way over ØMQ: a PUSH socket and a PULL socket.
//!
//! Wire: the PULL socket of the receiver binds, and the PUSH socket of each sender connects to it.
//! ØMQ (ZMTP 3 over TCP) delivers whole messages, not a stream of bytes: here a message is one
//! frame, the body.
//!
//! Confirms: nothing. `send` returns when the message is in the socket's queue. The queue of the
//! Rust crate is large, and its size cannot be set, so this lab adds a high-water mark
//! (`high-water`): at the mark, the sender waits until the queue is empty, while libzmq waits only
//! until there is room. `flush` returns when the queue is empty; up to 128 messages may still be in
//! a write that has not ended. `close` waits for an empty queue for at most five seconds, and then
//! fails and says how many messages are left.
//!
//! Survives: the death of a sender: the receiver reads on from the others. After a cut connection
//! or a restart of the receiver, the recovery layer (`labs/src/recovery/`) connects and joins
//! again; for the messages, see Loses. (The crate's PUSH socket does not reconnect.)
//!
//! Loses: what is queued in a socket, or on its way, when its process dies or its connection is
//! cut. Nobody is told how much that was: a lost connection empties the queue, so that `close` does
//! not count it.
//!
//! Run it: `just lab oneway-zeromq`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use zeromq::{PullSocket, PushSocket, Socket, SocketSend};

use super::{OneWay, Receiver, Sender};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::wire::zmq::{self, Accepting, Gauge, PeerLoss};

const HIGH_WATER: Knob = Knob::new(
    "high-water",
    1000,
    "Messages inside the socket before the sender waits (the high-water mark).",
);
/// How long [`Sender::close`] waits for the socket to empty: ØMQ's linger.
const LINGER: Duration = Duration::from_secs(5);

/// `oneway-zeromq`.
pub struct ZeroMq {
    place: Place,
    high_water: usize,
}

impl Lab for ZeroMq {
    const TRANSPORT: &'static str = "zeromq";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), high_water: place.knob(HIGH_WATER).max(1) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl OneWay for ZeroMq {
    type Sender = ZeroMqSender;
    type Receiver = ZeroMqReceiver;

    async fn sender(&self) -> Result<ZeroMqSender> {
        let mut socket = PushSocket::new();
        let loss = zmq::connect(&mut socket, &self.place).await?;
        Ok(ZeroMqSender { socket, loss, gauge: Gauge::default(), high_water: self.high_water })
    }

    async fn receiver(&self) -> Result<ZeroMqReceiver> {
        let mut socket = PullSocket::new();
        let accepting = zmq::bind(&mut socket, &self.place).await?;
        Ok(ZeroMqReceiver { socket, place: self.place.clone(), _accepting: accepting })
    }
}

/// The sending end: a PUSH socket.
pub struct ZeroMqSender {
    socket: PushSocket,
    loss: PeerLoss,
    gauge: Gauge,
    high_water: usize,
}

impl Sender for ZeroMqSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        if self.gauge.queued() >= self.high_water {
            self.gauge.drained().await;
        }
        self.socket.send(self.gauge.count(zmq::check(body)?).into()).await.context("the receiver has left")
    }

    /// An empty queue may also mean that the receiver has left and that the messages were dropped;
    /// `loss` tells the two apart.
    async fn flush(&mut self) -> Result<()> {
        self.gauge.drained().await;
        self.loss.is_lost().map_or(Ok(()), Err)
    }

    async fn close(self) -> Result<()> {
        let left = self.gauge.drained_within(LINGER).await;
        ensure!(left == 0, "{left} messages were still in the socket after {LINGER:?}");
        Ok(())
    }
}

/// The receiving end: a PULL socket.
pub struct ZeroMqReceiver {
    socket: PullSocket,
    place: Place,
    _accepting: Accepting,
}

impl Receiver for ZeroMqReceiver {
    /// ØMQ hides peers that come and go, so this never returns `None`.
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        loop {
            let message = zmq::receive(&mut self.socket).await?;
            if let Some(body) = zmq::single(message, &self.place) {
                return Ok(Some(body));
            }
        }
    }
}
