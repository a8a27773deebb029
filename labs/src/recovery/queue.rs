//! Queued delivery with recovery, and durable subscribers, which are consumers too.
//!
//! A `send` whose connection is lost is not confirmed: its message is sent again until it is.
//! It may be there already, so it may come twice. A cancelled `send` may or may not have sent.
//!
//! A consumer joins again. Deliveries that were not settled come again, marked where the transport
//! marks them. Their old receipts do nothing: `ack` and `nack` return `Ok`. The same holds for
//! what was acked and not flushed. `close` with a lost connection is `Ok`: unsettled deliveries go
//! back to the queue without it.

use anyhow::Result;
use bytes::Bytes;

use super::Recovering;
use super::link::{Joins, Link, Role};
use super::shared::Shared;
use super::transient::is_transient;
use crate::durable::DurablePubSub;
use crate::lab::Place;
use crate::queue::{Confirmed, Consumer, Delivery, Depth, Producer, Queue};
use crate::topic::Filter;

/// As a producer.
#[derive(Clone)]
pub struct AsProducer;

impl<L: Queue> Joins for Role<L, AsProducer> {
    type Lab = L;
    type End = L::Producer;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Producer> {
        L::open(&self.place).await?.producer().await
    }
}

/// As a consumer.
#[derive(Clone)]
pub struct AsConsumer {
    prefetch: u16,
}

impl<L: Queue> Joins for Role<L, AsConsumer> {
    type Lab = L;
    type End = L::Consumer;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Consumer> {
        L::open(&self.place).await?.consumer(self.kind.prefetch).await
    }
}

/// As a durable subscriber.
#[derive(Clone)]
pub struct AsDurable {
    id: String,
    filter: Filter,
}

impl<L: DurablePubSub> Joins for Role<L, AsDurable> {
    type Lab = L;
    type End = L::Durable;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Durable> {
        L::open(&self.place).await?.durable(&self.kind.id, &self.kind.filter).await
    }
}

impl<L: Queue> Queue for Recovering<L> {
    const CONFIRMED: Confirmed = L::CONFIRMED;
    type Producer = RecoveringProducer<L>;
    type Consumer = RecoveringConsumer<Role<L, AsConsumer>>;
    type DeadLetters = L::DeadLetters;

    async fn producer(&self) -> Result<RecoveringProducer<L>> {
        let end = self.lab.producer().await?;
        Ok(RecoveringProducer(Shared::new(Role::new(&self.place, AsProducer), end)))
    }

    async fn consumer(&self, prefetch: u16) -> Result<Self::Consumer> {
        let end = self.lab.consumer(prefetch).await?;
        Ok(RecoveringConsumer::new(Role::new(&self.place, AsConsumer { prefetch }), end))
    }

    /// The lab's own: whoever looks at them by hand can look again.
    async fn dead_letters(&self) -> Result<L::DeadLetters> {
        self.lab.dead_letters().await
    }

    async fn depth(&self) -> Result<Option<Depth>> {
        self.lab.depth().await
    }
}

impl<L: DurablePubSub> DurablePubSub for Recovering<L> {
    type Durable = RecoveringConsumer<Role<L, AsDurable>>;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<Self::Durable> {
        let end = self.lab.durable(id, filter).await?;
        let kind = AsDurable { id: id.to_owned(), filter: filter.clone() };
        Ok(RecoveringConsumer::new(Role::new(&self.place, kind), end))
    }

    async fn forget(&self, id: &str) -> Result<()> {
        self.lab.forget(id).await
    }
}

/// A producer whose connection is opened again.
pub struct RecoveringProducer<L: Queue>(pub(super) Shared<Role<L, AsProducer>>);

impl<L: Queue> Producer for RecoveringProducer<L> {
    async fn send(&self, body: Bytes) -> Result<()> {
        loop {
            let (generation, end) = self.0.end().await?;
            match end.send(body.clone()).await {
                Ok(()) => {
                    self.0.succeeded();
                    return Ok(());
                }
                Err(error) => drop(self.0.failed(generation, error)?),
            }
        }
    }

    async fn close(self) -> Result<()> {
        // Every `send` has returned, so that nothing is left unconfirmed.
        match self.0.take() {
            Some(end) => end.close().await,
            None => Ok(()),
        }
    }
}

/// A consumer whose connection is opened again. Its receipts say over which connection the delivery
/// came.
pub struct RecoveringConsumer<J: Joins> {
    pub(super) link: Link<J>,
    /// The last call of `next` has said that the other side has left.
    left: bool,
}

impl<J: Joins> RecoveringConsumer<J> {
    pub(super) fn new(joins: J, end: J::End) -> Self {
        Self { link: Link::new(joins, end), left: false }
    }
}

impl<J: Joins<End: Consumer>> Consumer for RecoveringConsumer<J> {
    type Item = <J::End as Consumer>::Item;
    type Receipt = (u64, <J::End as Consumer>::Receipt);

    async fn next(&mut self) -> Result<Option<Delivery<Self::Item, Self::Receipt>>> {
        if std::mem::take(&mut self.left) && self.link.joins().connects() {
            self.link.left();
        }
        loop {
            let generation = self.link.generation();
            match self.link.end().await?.next().await {
                Ok(delivery) => {
                    self.left = delivery.is_none();
                    self.link.succeeded();
                    return Ok(delivery.map(|Delivery { item, attempt, receipt }| Delivery {
                        item,
                        attempt,
                        receipt: (generation, receipt),
                    }));
                }
                Err(error) => self.link.failed(error)?,
            }
        }
    }

    async fn ack(&mut self, (generation, receipt): Self::Receipt) -> Result<()> {
        match self.of(generation) {
            Some(end) => match end.ack(receipt).await {
                Ok(()) => Ok(()),
                Err(error) => self.link.failed(error),
            },
            None => Ok(()),
        }
    }

    async fn nack(&mut self, (generation, receipt): Self::Receipt) -> Result<()> {
        match self.of(generation) {
            Some(end) => match end.nack(receipt).await {
                Ok(()) => Ok(()),
                Err(error) => self.link.failed(error),
            },
            None => Ok(()),
        }
    }

    /// With a lost connection: what was settled and not flushed comes again. Returns when the
    /// connection is open again.
    async fn flush(&mut self) -> Result<()> {
        match self.link.end().await?.flush().await {
            Ok(()) => {
                self.link.succeeded();
                Ok(())
            }
            Err(error) => {
                self.link.failed(error)?;
                self.link.end().await.map(|_| ())
            }
        }
    }

    async fn close(self) -> Result<()> {
        match self.link.take() {
            Some(end) => match end.close().await {
                Err(error) if super::link::recovers::<J>() && is_transient(&error) => Ok(()),
                closed => closed,
            },
            None => Ok(()),
        }
    }
}

impl<J: Joins> RecoveringConsumer<J> {
    /// The end that a receipt of this generation belongs to, if its connection still holds.
    fn of(&mut self, generation: u64) -> Option<&mut J::End> {
        if generation == self.link.generation() { self.link.here() } else { None }
    }
}
