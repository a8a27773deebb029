//! The measured loops of durable subscribers: publishers offer the load, and every
//! subscriber receives all of it under its own identifier and acknowledges it.

use anyhow::Result;
use bytes::Bytes;
use labs::durable::DurablePubSub;
use labs::pubsub::{Event, Publisher};
use labs::queue::{Consumer, Delivery};

use super::adapters::TopicSink;
use super::context::RoleContext;
use super::in_flight_window::InFlightWindow;
use super::protocol::Kind;
use super::pubsub::{filter, topic};
use super::send_loop::{self, MessageSink};
use super::{manual, queue};
use crate::measure::recorder::{Progress, Recording};
use labs::erased::{AnyConsumer, AnyPublisher};

pub(super) async fn run<L: DurablePubSub, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Publisher, true) => publish::<R>(&context, lab.publisher().await?).await,
        (Kind::Publisher, false) => {
            manual::publisher(context, AnyPublisher::new(lab.publisher().await?)).await
        }
        (_, measured) => {
            let filter = filter::<L>(context.init.filter.as_deref(), measured)?;
            let mut subscriber = Bodies(lab.durable(&context.init.role(), &filter).await?);
            match measured {
                true => {
                    if context.is_backlog()? {
                        // A backlog is queued up for subscribers that are known and not there.
                        subscriber.close().await?;
                        context.ready();
                        context.backlog().await?;
                        subscriber = Bodies(lab.durable(&context.init.role(), &filter).await?);
                    } else {
                        context.ready();
                    }
                    let window = context.go().await?;
                    queue::consume::<_, R>(&context, subscriber, window, Progress::Highest).await
                }
                false => manual::consumer(context, AnyConsumer::new(subscriber)).await,
            }
        }
    }
}

/// Whatever was flushed is confirmed.
struct Confirmed<P>(TopicSink<P>);

impl<P: Publisher> MessageSink for Confirmed<P> {
    #[inline]
    fn confirms(&self) -> bool {
        true
    }
    #[inline]
    async fn put(&mut self, body: Bytes) -> Result<()> {
        self.0.put(body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
}

async fn publish<R: Recording>(context: &RoleContext, publisher: impl Publisher) -> Result<()> {
    let mut sink = Confirmed(TopicSink { publisher, topic: topic()? });
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let listeners: Vec<String> =
        (0..context.init.receivers).map(|index| format!("subscriber-{index}")).collect();
    let mut in_flight_window = InFlightWindow::open(context, &listeners, Progress::Highest, false)?;
    let mut sends = context.sender_recorder::<R>(window)?;
    send_loop::drive(context, &mut sink, &mut sends, &mut in_flight_window, window).await?;
    context.stop().await;
    sink.0.publisher.close().await?;
    context.report(Some((sends, in_flight_window.cost())), None, meter).await
}

/// Adapts a consumer of events to a consumer of their bodies, which the account counts.
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
