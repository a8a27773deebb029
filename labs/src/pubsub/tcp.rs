//! Publish/subscribe over plain TCP: the publisher does what a broker would do, and keeps the
//! filters.
//!
//! Wire: the publisher listens, and writes each event to the subscribers whose filter it matches. A
//! frame is four bytes of length, big-endian, then as many bytes. A subscriber sends one frame, its
//! filter as text (`prefix:chat.`), and gets one: `ok`, or what is wrong with it. An event is a
//! frame of one byte of topic length, the topic, and the body.
//!
//! Confirms: a subscription, with `ok`: after it a subscriber misses nothing. Events are not
//! confirmed: `publish` returns when they are in a buffer for each subscriber. A buffer is written
//! at `write-bytes` or a `flush`, and waits for its subscriber: so all of them wait for the
//! slowest. One that takes nothing for `stalled-ms` is disconnected.
//!
//! Survives: the death of a subscriber, and one that breaks the protocol: the publisher and the
//! others go on. After a cut connection or a restart of the publisher, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the events, see Loses.
//!
//! Loses: what was on its way to a subscriber when its connection broke, and what is published
//! until it has subscribed again; what a publisher that dies had not written.
//!
//! Run it: `just lab pubsub-tcp`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes};

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::frames::FrameConnection;
use crate::wire::sockets::{
    Acceptor, Bound, Joined, STALLED, Socket, StallLimit, Subscription, check_answer, read_filter,
};

pub(super) const WRITE: Knob = Knob::new(
    "write-bytes",
    64 << 10,
    "Bytes collected for one subscriber before they are written without a flush.",
);

/// `pubsub-tcp`.
pub struct Tcp {
    place: Place,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[WRITE, STALLED];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for Tcp {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = FramePublisher;
    type Subscriber = FrameSubscriber;

    async fn publisher(&self) -> Result<FramePublisher> {
        Ok(FramePublisher::new(Bound::tcp(&self.place).await?))
    }

    async fn subscriber(&self, filter: &Filter) -> Result<FrameSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        FrameSubscriber::join(&self.place, filter).await
    }
}

/// The publishing end.
pub struct FramePublisher {
    /// Does the handshake with new subscribers in the meantime.
    acceptor: Acceptor<Subscription<FrameConnection>>,
    subscriptions: Vec<Subscription<FrameConnection>>,
    write: usize,
    stall: StallLimit,
}

impl FramePublisher {
    pub(crate) fn new(bound: Bound) -> Self {
        let (write, stall) = (bound.place().knob(WRITE), StallLimit::at(bound.place()));
        Self { acceptor: Acceptor::start(bound, accept), subscriptions: Vec::new(), write, stall }
    }
}

/// The publisher's side of the handshake: reads the filter and answers.
async fn accept(socket: Socket, joined: Joined<Subscription<FrameConnection>>) -> Result<()> {
    let mut connection = FrameConnection::new(socket);
    // A peer that leaves before it has sent anything has only looked in.
    let Some(text) = connection.next().await? else { return Ok(()) };
    let (filter, answer) = read_filter(&text);
    // Room is taken before the answer, and the answer is written before the publisher has the
    // connection: a subscriber that was told `ok` cannot be left out, and hears that first.
    let room = joined.reserve().await?;
    connection.put(&[answer.as_bytes()])?;
    connection.flush().await?;
    if let Some(filter) = filter {
        room.send(Subscription { filter, connection });
    }
    Ok(())
}

impl Publisher for FramePublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if self.acceptor.has_news() {
            // A subscriber has nothing more to say: those that do, or have left, make room.
            let acceptor = &self.acceptor;
            self.subscriptions.retain(|subscriber| acceptor.is_here(subscriber.connection.ended()));
            self.subscriptions.extend(self.acceptor.newcomers());
        }
        let (name, mut gone) = (topic.as_str().as_bytes(), Vec::new());
        let Ok(length) = u8::try_from(name.len()) else { bail!("topic `{topic}` is too long") };
        for (at, Subscription { filter, connection }) in self.subscriptions.iter_mut().enumerate() {
            if filter.matches(topic) {
                connection.put(&[&[length], name, &body])?;
                if connection.unwritten() >= self.write
                    && let Err(error) = connection.flush_within(&mut self.stall).await
                {
                    self.acceptor.write_failed(&error);
                    gone.push(at);
                }
            }
        }
        for at in gone.into_iter().rev() {
            self.subscriptions.swap_remove(at);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        for mut subscription in std::mem::take(&mut self.subscriptions) {
            // A connection that breaks is a subscriber that has left.
            match subscription.connection.flush_within(&mut self.stall).await {
                Ok(()) => self.subscriptions.push(subscription),
                Err(error) => self.acceptor.write_failed(&error),
            }
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// The subscribing end.
pub struct FrameSubscriber {
    connection: FrameConnection,
    topics: TopicReader,
}

impl FrameSubscriber {
    /// Sends the filter; the publisher has confirmed it when this returns.
    pub(crate) async fn join(place: &Place, filter: &Filter) -> Result<Self> {
        let mut connection = FrameConnection::connect(&place.peer().await?).await?;
        connection.put(&[filter.to_string().as_bytes()])?;
        connection.flush().await?;
        check_answer(&connection.next().await?.context("the publisher closed the connection")?)?;
        Ok(Self { connection, topics: TopicReader::new(place) })
    }
}

impl Subscriber for FrameSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(frame) = self.connection.next().await? else { return Ok(None) };
            if let Some(event) = self.event(frame) {
                return Ok(Some(event));
            }
        }
    }
}

impl FrameSubscriber {
    /// The event in a frame; anything else is counted as skipped.
    fn event(&mut self, mut body: Bytes) -> Option<Event> {
        match body.try_get_u8() {
            Ok(length) if body.len() >= usize::from(length) => {
                Some(Event { topic: self.topics.read(&body.split_to(usize::from(length)))?, body })
            }
            _ => self.topics.skip("a frame without a whole topic"),
        }
    }
}
