//! Durable subscribers, measured: publishers offer the load, every subscriber
//! takes all of it under its own identifier and acknowledges what it took.

use anyhow::Result;
use bytes::Bytes;
use labs::durable::DurablePubSub;
use labs::pubsub::{Event, Publisher};
use labs::queue::{Consumer, Delivery};

use super::adapters::Channel;
use super::context::Stage;
use super::protocol::Kind;
use super::pubsub::{filter, topic};
use super::send_loop::{self, Outlet, Room};
use super::{manual, queue};
use crate::measure::recorder::Progress;
use labs::erased::{AnyConsumer, AnyPublisher};

pub(super) async fn run<L: DurablePubSub>(stage: Stage) -> Result<()> {
    let lab = L::open(&stage.place).await?;
    match (stage.init.kind, stage.init.measure.is_some()) {
        (Kind::Publisher, true) => publish(&stage, lab.publisher().await?).await,
        (Kind::Publisher, false) => manual::publisher(stage, AnyPublisher::new(lab.publisher().await?)).await,
        (_, measured) => {
            let filter = filter::<L>(stage.init.filter.as_deref(), measured)?;
            let mut subscriber = Bodies(lab.durable(&stage.init.role(), &filter).await?);
            match measured {
                true => {
                    if stage.is_backlog()? {
                        // A backlog is queued up for subscribers that are known and not there.
                        subscriber.close().await?;
                        stage.ready();
                        stage.backlog().await?;
                        subscriber = Bodies(lab.durable(&stage.init.role(), &filter).await?);
                    } else {
                        stage.ready();
                    }
                    let window = stage.go().await?;
                    queue::consume(&stage, subscriber, window, Progress::Highest).await
                }
                false => manual::consumer(stage, AnyConsumer::new(subscriber)).await,
            }
        }
    }
}

/// Whatever was flushed is confirmed.
struct Confirmed<P>(Channel<P>);

impl<P: Publisher> Outlet for Confirmed<P> {
    const CONFIRMS: bool = true;
    #[inline]
    async fn put(&mut self, body: Bytes) -> Result<()> {
        self.0.put(body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
}

async fn publish(stage: &Stage, publisher: impl Publisher) -> Result<()> {
    let mut outlet = Confirmed(Channel { publisher, topic: topic()? });
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let listeners: Vec<String> =
        (0..stage.init.receivers).map(|index| format!("subscriber-{index}")).collect();
    let room = Room::open(stage, &listeners, Progress::Highest, false)?;
    let mut ledger = stage.ledger(window)?;
    send_loop::drive(stage, &mut outlet, &mut ledger, room, window).await?;
    stage.stop().await;
    outlet.0.publisher.close().await?;
    stage.report(Some(ledger), None, meter).await
}

/// A consumer of events as one of their bodies: what is accounted for.
struct Bodies<C>(C);

impl<C: Consumer<Item = Event>> Consumer for Bodies<C> {
    type Item = Bytes;
    type Receipt = C::Receipt;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, C::Receipt>>> {
        let delivery = self.0.next().await?;
        Ok(delivery.map(|Delivery { item, attempt, receipt }| Delivery { item: item.body, attempt, receipt }))
    }
    async fn ack(&mut self, receipt: C::Receipt) -> Result<()> {
        self.0.ack(receipt).await
    }
    async fn nack(&mut self, receipt: C::Receipt) -> Result<()> {
        self.0.nack(receipt).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
