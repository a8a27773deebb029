//! Publish/subscribe over a Unix stream socket: both ends of `tcp.rs`, and no network. There is no
//! multicast here either: an event for ten subscribers is copied into the kernel ten times.
//!
//! Wire: the publisher listens at a file, and writes each event to the subscribers whose filter it
//! matches. A frame is four bytes of length, big-endian, then as many bytes. A subscriber sends one
//! frame, its filter as text (`prefix:chat.`), and gets one: `ok`, or what is wrong with it. An
//! event is a frame of one byte of topic length, the topic, and the body.
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
//! Run it: `just lab pubsub-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::PubSub;
use super::tcp::{FramePublisher, FrameSubscriber, WRITE};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::topic::{Filter, FilterKind};
use crate::wire::sockets::{Bound, STALLED};

/// `pubsub-unix`.
pub struct Unix {
    place: Place,
}

impl Lab for Unix {
    const TRANSPORT: &'static str = "unix";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[WRITE, STALLED];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A socket's file outlives a process that was killed.
    async fn remove(place: &Place) -> Result<()> {
        Bound::remove_unix(place)
    }
}

impl PubSub for Unix {
    /// The publisher filters by itself, and so knows every dialect.
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = FramePublisher;
    type Subscriber = FrameSubscriber;

    async fn publisher(&self) -> Result<FramePublisher> {
        Ok(FramePublisher::new(Bound::unix(&self.place).await?))
    }

    async fn subscriber(&self, filter: &Filter) -> Result<FrameSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        FrameSubscriber::join(&self.place, filter).await
    }
}
