//! Publish/subscribe over ØMQ's PUB and SUB sockets.
//!
//! Wire: the PUB socket of the publisher binds, and the SUB socket of each subscriber connects to
//! it. An event is a message of two frames, the topic and the body. A subscription is a prefix of
//! bytes that SUB sends to PUB, and the publisher filters.
//!
//! Confirms: nothing, not even a subscription (the "slow joiner": what is published right after a
//! subscriber connects does not reach it). `publish` returns when the event is in the socket, and
//! never waits for a subscriber. `flush` waits, without a limit, until the socket has encoded
//! everything (up to 128 messages may still be in its last write); `close` waits for that at most
//! five seconds.
//!
//! Survives: the death of a subscriber: the publisher and the others go on. After a cut connection
//! or a restart of the publisher, the recovery layer (`labs/src/recovery/`) connects and joins
//! again; for the events, see Loses. (The crate's SUB socket does not reconnect.)
//!
//! Loses: what is published before a subscription has arrived, also when a subscriber joins again;
//! what is queued in a socket, or on its way, when its connection is cut or its process dies. Under
//! overload, events beyond `high-water` are dropped silently. The mark is one for the whole socket:
//! a single slow subscriber fills it, and then every subscriber misses events. (libzmq has a mark
//! for each subscriber; that of the crate has no effect, so this lab has its own.)
//!
//! Run it: `just lab pubsub-zeromq`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use zeromq::{PubSocket, Socket, SocketSend, SubSocket, ZmqMessage};

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::zmq::{self, Accepting, Gauge, PeerLoss};

/// PUB never waits: without a pause it fills its queue and drops the rest.
const BATCH: Knob =
    Knob::new("batch", 128, "Events accepted before the publisher lets the socket's own task run.");
/// The crate's own limit has no effect: the crate clones its channel's sending half for each message,
/// and every clone may exceed the limit by one.
const HIGH_WATER: Knob = Knob::new(
    "high-water",
    100_000,
    "Messages inside the socket before more are dropped (the high-water mark).",
);
/// How long [`Publisher::close`] waits for the socket to empty: ØMQ's linger.
const LINGER: Duration = Duration::from_secs(5);

/// `pubsub-zeromq`.
pub struct ZeroMq {
    place: Place,
    batch: usize,
    high_water: usize,
}

impl Lab for ZeroMq {
    const TRANSPORT: &'static str = "zeromq";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Probed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[BATCH, HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        let (batch, high_water) = (place.knob(BATCH).max(1), place.knob(HIGH_WATER).max(1));
        Ok(Self { place: place.clone(), batch, high_water })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for ZeroMq {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Prefix];
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = ZeroMqPublisher;
    type Subscriber = ZeroMqSubscriber;

    async fn publisher(&self) -> Result<ZeroMqPublisher> {
        let mut socket = PubSocket::new();
        let accepting = zmq::bind(&mut socket, &self.place).await?;
        let (gauge, batch, high_water) = (Gauge::default(), self.batch, self.high_water);
        Ok(ZeroMqPublisher { socket, gauge, batch, high_water, since_pause: 0, _accepting: accepting })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<ZeroMqSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let mut socket = SubSocket::new();
        let loss = zmq::connect(&mut socket, &self.place).await?;
        let prefix = if let Filter::Prefix(prefix) = filter { prefix } else { "" };
        socket.subscribe(prefix).await.context("cannot subscribe")?;
        Ok(ZeroMqSubscriber { socket, loss, topics: TopicReader::new(&self.place) })
    }
}

/// The publishing end: a PUB socket.
pub struct ZeroMqPublisher {
    socket: PubSocket,
    gauge: Gauge,
    batch: usize,
    high_water: usize,
    since_pause: usize,
    _accepting: Accepting,
}

impl Publisher for ZeroMqPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if self.gauge.queued() < self.high_water {
            let mut message = ZmqMessage::from(Bytes::copy_from_slice(topic.as_str().as_bytes()));
            message.push_back(self.gauge.count(zmq::check(body)?));
            self.socket.send(message).await.context("the PUB socket broke")?;
        }
        self.since_pause += 1;
        if self.since_pause >= self.batch {
            self.since_pause = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.since_pause = 0;
        self.gauge.drained().await;
        Ok(())
    }

    async fn close(self) -> Result<()> {
        let left = self.gauge.drained_within(LINGER).await;
        ensure!(left == 0, "{left} messages were still in the socket after {LINGER:?}");
        Ok(())
    }
}

/// The subscribing end: a SUB socket.
pub struct ZeroMqSubscriber {
    socket: SubSocket,
    loss: PeerLoss,
    topics: TopicReader,
}

impl ZeroMqSubscriber {
    /// The event of these frames; anything else is counted as skipped.
    fn event(&mut self, frames: &[Bytes]) -> Option<Event> {
        let [topic, body] = frames else {
            let count = frames.len();
            return self.topics.skip(format_args!("{count} frames where a topic and a body were expected"));
        };
        Some(Event { topic: self.topics.read(topic)?, body: body.clone() })
    }
}

impl Subscriber for ZeroMqSubscriber {
    /// Never `None`: ØMQ does not tell a publisher that has closed from one that was killed.
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let frames = self.loss.receive(&mut self.socket).await?.into_vec();
            if let Some(event) = self.event(&frames) {
                return Ok(Some(event));
            }
        }
    }
}
