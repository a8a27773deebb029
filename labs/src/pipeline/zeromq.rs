//! A pipeline over ØMQ: PUSH and PULL sockets, twice.
//!
//! Wire: the ventilator's PUSH and the sink's PULL bind, and each worker connects a PULL and a PUSH
//! to them. A message is one frame, the body. PUSH deals tasks out in turn to the workers that are
//! connected, whether they keep up or not: a slow worker gets as many as a fast one. The signal to
//! stop the workers goes through `pubsub/zeromq.rs`.
//!
//! Confirms: nothing. `send` returns when the message is in the socket's queue; at `high-water` it
//! waits until the queue is empty. `flush` returns when the queue is empty; up to 128 messages may
//! still be in a write that has not ended. `close` waits for an empty queue for at most five
//! seconds, and then fails. A ventilator that starts alone waits for the first worker, and that one
//! may get the whole first batch.
//!
//! Survives: the death of a worker: the others get the next tasks. After a cut connection or a
//! restart of ventilator or sink, the recovery layer (`labs/src/recovery/`) connects and joins
//! again; for the messages, see Loses. (The crate's PUSH and PULL sockets do not reconnect.)
//!
//! Loses: what is queued in a socket, or on its way, when the connection is cut or one of the two
//! processes dies; nobody is told how much that was.
//!
//! Run it: `just lab pipeline-zeromq`. Break it: `just break run ventilator-first`. Watch it:
//! `ss -tnp`, columns Recv-Q and Send-Q.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use zeromq::{PullSocket, PushSocket, Socket, SocketEvent, SocketSend, ZmqError, ZmqMessage};

use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::recovery::disconnected;
use crate::wire::zmq::{self, Accepting, Gauge, PeerLoss};

const HIGH_WATER: Knob =
    Knob::new("high-water", 1000, "Messages inside a socket before the sender waits (the high-water mark).");
/// How long closing waits for the socket to empty: ØMQ's linger.
const LINGER: Duration = Duration::from_secs(5);

/// `pipeline-zeromq`.
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

impl Pipeline for ZeroMq {
    const SHARING: Sharing = Sharing::RoundRobin;
    type Push = ZeroMqPush;
    type Pull = ZeroMqPull;
    type Control = pubsub::zeromq::ZeroMq;

    async fn push(&self, stage: Stage) -> Result<ZeroMqPush> {
        let place = self.place.namespace(stage.namespace());
        let mut socket = PushSocket::new();
        let (gauge, high_water) = (Gauge::default(), self.high_water);
        let peers = match stage {
            Stage::Tasks => {
                let events = Box::new(socket.monitor());
                Peers::Come(events, zmq::bind(&mut socket, &place).await?)
            }
            Stage::Results => Peers::Sought(zmq::connect(&mut socket, &place).await?),
        };
        Ok(ZeroMqPush { socket, peers, gauge, high_water })
    }

    async fn pull(&self, stage: Stage) -> Result<ZeroMqPull> {
        let place = self.place.namespace(stage.namespace());
        let mut socket = PullSocket::new();
        let (mut accepting, mut loss) = (None, None);
        match stage {
            Stage::Tasks => loss = Some(zmq::connect(&mut socket, &place).await?),
            Stage::Results => accepting = Some(zmq::bind(&mut socket, &place).await?),
        }
        Ok(ZeroMqPull { socket, place, loss, _accepting: accepting })
    }
}

/// The sending end: a PUSH socket.
pub struct ZeroMqPush {
    socket: PushSocket,
    peers: Peers,
    gauge: Gauge,
    high_water: usize,
}

/// How a PUSH socket gets its peers.
enum Peers {
    /// They connect: one waits for events of the socket.
    Come(
        Box<dyn Stream<Item = SocketEvent> + Unpin>,
        #[expect(dead_code, reason = "it is kept to be dropped")] Accepting,
    ),
    /// It has connected, to the sink.
    Sought(PeerLoss),
}

impl Sender for ZeroMqPush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        if self.gauge.queued() >= self.high_water {
            self.gauge.drained().await;
        }
        let mut message = ZmqMessage::from(self.gauge.count(zmq::check(body)?));
        // Without a peer PUSH fails at once and gives the message back.
        while let Err(error) = self.socket.send(message).await {
            let ZmqError::ReturnToSender { message: back, .. } = error else {
                return Err(error).context("the PUSH socket broke");
            };
            match &mut self.peers {
                Peers::Come(events, _) => drop(events.next().await.context("the PUSH socket has closed")?),
                Peers::Sought(_) => return Err(disconnected("the sink has left")),
            }
            message = back;
        }
        Ok(())
    }

    /// An empty queue may also mean that a peer has left and that its messages were dropped; on the
    /// way to the sink, `loss` tells the two apart.
    async fn flush(&mut self) -> Result<()> {
        self.gauge.drained().await;
        match &mut self.peers {
            Peers::Come(..) => Ok(()),
            Peers::Sought(loss) => loss.is_lost().map_or(Ok(()), Err),
        }
    }

    async fn close(self) -> Result<()> {
        let left = self.gauge.drained_within(LINGER).await;
        ensure!(left == 0, "{left} messages were still in the socket after {LINGER:?}");
        Ok(())
    }
}

/// The receiving end: a PULL socket.
pub struct ZeroMqPull {
    socket: PullSocket,
    place: Place,
    /// Of a worker, which has connected; a sink listens.
    loss: Option<PeerLoss>,
    _accepting: Option<Accepting>,
}

impl Consumer for ZeroMqPull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        loop {
            let message = match &mut self.loss {
                Some(loss) => loss.receive(&mut self.socket).await?,
                None => zmq::receive(&mut self.socket).await?,
            };
            if let Some(item) = zmq::single(message, &self.place) {
                return Ok(Some(Delivery { item, attempt: 1, receipt: () }));
            }
        }
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("PUSH does not take a task back")
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
