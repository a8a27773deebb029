//! Publish/subscribe over a Unix stream socket: the publisher listens at a
//! file, keeps every subscriber's filter, and writes each event to those it
//! matches. Frames and both ends are those of `tcp.rs`.
//!
//! There is no multicast here either: an event for ten subscribers is copied
//! into the kernel ten times. A subscriber has joined when it is told `ok`, and
//! misses nothing from then on. Events are not confirmed. Back-pressure reaches
//! the publisher: it waits for the slowest subscriber, and so all of them do.
//! Loses: what a subscriber has not read when it dies.
//!
//! Run it with `just lab pubsub-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::PubSub;
use super::tcp::{FramePublisher, FrameSubscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::topic::{Filter, FilterKind};
use crate::wire::sockets::Bound;

const WRITE: Knob = Knob::new(
    "write-bytes",
    64 << 10,
    "Bytes collected for one subscriber before they are written without a flush.",
);

/// `pubsub-unix`.
pub struct Unix {
    place: Place,
    write: usize,
}

impl Lab for Unix {
    const TRANSPORT: &'static str = "unix";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[WRITE];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), write: place.knob(WRITE) })
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
        Ok(FramePublisher::new(Bound::unix(&self.place).await?, self.write))
    }

    async fn subscriber(&self, filter: &Filter) -> Result<FrameSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        FrameSubscriber::join(&self.place, filter).await
    }
}
