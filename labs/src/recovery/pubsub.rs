//! Publish/subscribe with recovery.
//!
//! A publisher of an at-most-once lab is as a sender: an event whose `publish` fails is given up.
//! Where the lab promises more (its durable subscribers get every event that was flushed), it keeps
//! what it has accepted since the last `flush`, and publishes that again when its connection is
//! open again. With 1024 events, or 4 MiB, it flushes without being asked.
//!
//! A subscriber joins again, with its filter; what was published meanwhile is missed. When the
//! publisher has left, `next` returns `None` once, and the call after that connects again.

use anyhow::Result;
use bytes::Bytes;

use super::Recovering;
use super::link::{Joins, Link, Role, keeps};
use super::outgoing::{Outgoing, PublisherOutlet};
use crate::lab::Place;
use crate::pubsub::{Event, PubSub, Publisher, Subscriber};
use crate::topic::{Filter, FilterKind, Topic};

/// As a publisher.
#[derive(Clone)]
pub struct AsPublisher;

impl<L: PubSub> Joins for Role<L, AsPublisher> {
    type Lab = L;
    type End = PublisherOutlet<L::Publisher>;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<Self::End> {
        Ok(PublisherOutlet(L::open(&self.place).await?.publisher().await?))
    }
}

/// As a subscriber.
#[derive(Clone)]
pub struct AsSubscriber {
    filter: Filter,
}

impl<L: PubSub> Joins for Role<L, AsSubscriber> {
    type Lab = L;
    type End = L::Subscriber;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Subscriber> {
        L::open(&self.place.joining_again()).await?.subscriber(&self.kind.filter).await
    }
}

impl<L: PubSub> PubSub for Recovering<L> {
    const FILTERS: &'static [FilterKind] = L::FILTERS;
    const PUBLISHERS: Option<usize> = L::PUBLISHERS;
    type Publisher = RecoveringPublisher<L>;
    type Subscriber = RecoveringSubscriber<L>;

    async fn publisher(&self) -> Result<RecoveringPublisher<L>> {
        let end = PublisherOutlet(self.lab.publisher().await?);
        Ok(RecoveringPublisher(Outgoing::new(Role::new(&self.place, AsPublisher), end)))
    }

    async fn subscriber(&self, filter: &Filter) -> Result<RecoveringSubscriber<L>> {
        let end = self.lab.subscriber(filter).await?;
        let role = Role::new(&self.place, AsSubscriber { filter: filter.clone() });
        Ok(RecoveringSubscriber { link: Link::new(role, end), left: false })
    }
}

/// A publisher whose connection is opened again.
pub struct RecoveringPublisher<L: PubSub>(pub(super) Outgoing<Role<L, AsPublisher>>);

impl<L: PubSub> Publisher for RecoveringPublisher<L> {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if keeps::<Role<L, AsPublisher>>() {
            let bytes = body.len();
            return self.0.keep((topic.clone(), body), bytes).await;
        }
        match self.0.link.end().await?.0.publish(topic, body).await {
            Ok(()) => Ok(()),
            Err(error) => self.0.give_up(error).await,
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A subscriber whose connection is opened again.
pub struct RecoveringSubscriber<L: PubSub> {
    pub(super) link: Link<Role<L, AsSubscriber>>,
    /// The last call has said that the publisher has left.
    left: bool,
}

impl<L: PubSub> Subscriber for RecoveringSubscriber<L> {
    async fn next(&mut self) -> Result<Option<Event>> {
        if std::mem::take(&mut self.left) {
            self.link.left();
        }
        loop {
            match self.link.end().await?.next().await {
                Ok(event) => {
                    self.left = event.is_none();
                    self.link.succeeded();
                    return Ok(event);
                }
                Err(error) => self.link.failed(error)?,
            }
        }
    }
}
