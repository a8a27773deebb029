//! Publish/subscribe inside one process: the observer pattern with queues in between.
//!
//! Wire: none. There is a list of subscribers, each with its filter and its own bounded channel,
//! and the publisher puts a copy of an event into the channel of each that matches; the body is
//! shared.
//!
//! Confirms: a subscription: a subscriber has joined when `subscriber` returns. Events are not
//! confirmed: `publish` returns when every channel has the event. It waits while `depth` events are
//! in one of them, so a subscriber that stops reading stops all.
//!
//! Survives: a subscriber that leaves: the publisher and the others go on. There is no connection
//! that could be cut.
//!
//! Loses: events that were published before a subscriber joined; with a subscriber, those in its
//! channel; with the process, everything.
//!
//! Run it: `just lab pubsub-inproc`.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::topic::{Filter, FilterKind, Topic};

const DEPTH: Knob =
    Knob::new("depth", 1024, "Events that wait for one subscriber before the publisher has to wait.");

/// `pubsub-inproc`.
pub struct Inproc {
    subscriptions: Arc<watch::Sender<Vec<Subscription>>>,
    depth: usize,
}

#[derive(Clone)]
struct Subscription {
    filter: Filter,
    events: mpsc::Sender<Event>,
}

impl Lab for Inproc {
    const TRANSPORT: &'static str = "inproc";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { subscriptions: place.registered(watch::Sender::default), depth: place.knob(DEPTH).max(1) })
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

impl PubSub for Inproc {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    type Publisher = InprocPublisher;
    type Subscriber = InprocSubscriber;

    async fn publisher(&self) -> Result<InprocPublisher> {
        let mut subscriptions = self.subscriptions.subscribe();
        let known = subscriptions.borrow_and_update().clone();
        Ok(InprocPublisher { subscriptions, known })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<InprocSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let (events, inbox) = mpsc::channel(self.depth);
        let subscription = Subscription { filter: filter.clone(), events };
        self.subscriptions.send_modify(|all| {
            all.retain(|other| !other.events.is_closed());
            all.push(subscription);
        });
        Ok(InprocSubscriber(inbox))
    }
}

/// The publishing end: looks at the list again only when it has changed.
pub struct InprocPublisher {
    subscriptions: watch::Receiver<Vec<Subscription>>,
    known: Vec<Subscription>,
}

impl Publisher for InprocPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if self.subscriptions.has_changed().unwrap_or(false) {
            self.known = self.subscriptions.borrow_and_update().clone();
        }
        for subscription in self.known.iter().filter(|known| known.filter.matches(topic)) {
            // A subscriber that has left is not an error: nobody promised it anything.
            let _ = subscription.events.send(Event { topic: topic.clone(), body: body.clone() }).await;
        }
        Ok(())
    }

    /// The channels are the wire: what was accepted is written.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The subscribing end.
pub struct InprocSubscriber(mpsc::Receiver<Event>);

impl Subscriber for InprocSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        Ok(self.0.recv().await)
    }
}
