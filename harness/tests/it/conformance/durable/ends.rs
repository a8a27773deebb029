//! The ends of a durable lab, as the checks hold them.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use labs::durable::DurablePubSub;
use labs::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use labs::pubsub::{Event, Publisher};
use labs::queue::{Consumer, Delivery};
use labs::topic::{Filter, Topic};

use super::super::place::Site;
use super::super::pubsub::{Out, PROBE, TOPIC};
use super::super::stream::{Rx, Stream, message, number};
use super::{ANN, IDS};

/// A durable lab, removed as a run removes it: who had subscribed is forgotten first.
pub(in super::super) struct Kept<L>(L);

impl<L: DurablePubSub> Lab for Kept<L> {
    const TRANSPORT: &'static str = L::TRANSPORT;
    const VARIANT: Option<&'static str> = L::VARIANT;
    const BROKER: Option<Broker> = L::BROKER;
    const GUARANTEE: Guarantee = L::GUARANTEE;
    const OVERLOAD: Overload = L::OVERLOAD;
    const JOIN: Join = L::JOIN;
    const RECOVERY: Recovery = L::RECOVERY;

    async fn open(place: &Place) -> Result<Self> {
        L::open(place).await.map(Self)
    }

    async fn remove(place: &Place) -> Result<()> {
        let lab = L::open(place).await?;
        for id in IDS {
            lab.forget(id).await?;
        }
        drop(lab);
        L::remove(place).await
    }
}

impl<L: DurablePubSub> Stream for Kept<L> {
    type Lab = Self;
    type Tx = Out<L::Publisher>;
    type Rx = In<L::Durable>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        let lab = L::open(place).await?;
        let subscriber = lab.durable(ANN, &Filter::All).await?;
        Ok((Out::new(lab.publisher().await?)?, In::new(subscriber)))
    }
}

/// Takes, and acks what it took.
pub(in super::super) struct In<C: Consumer> {
    pub(super) subscriber: C,
    receipt: Option<C::Receipt>,
}

impl<C: Consumer> In<C> {
    pub(super) fn new(subscriber: C) -> Self {
        Self { subscriber, receipt: None }
    }
}

impl<C: Consumer<Item = Event>> Rx for In<C> {
    async fn get(&mut self) -> Result<Option<Bytes>> {
        let delivery = self.subscriber.next().await?;
        Ok(delivery.map(|delivery| {
            self.receipt = Some(delivery.receipt);
            delivery.item.body
        }))
    }
    async fn settle(&mut self) -> Result<()> {
        match self.receipt.take() {
            Some(receipt) => self.subscriber.ack(receipt).await,
            None => Ok(()),
        }
    }
}

pub(in super::super) type Held<C> = Delivery<Event, <C as Consumer>::Receipt>;

/// The next delivery, soon.
pub(in super::super) async fn next<C: Consumer<Item = Event>>(
    site: &Site,
    subscriber: &mut C,
) -> Result<Held<C>> {
    let next = async {
        loop {
            let delivery = subscriber.next().await?;
            let delivery = delivery.context("the subscriber says that nothing can come any more")?;
            if delivery.item.body != PROBE {
                return Ok(delivery);
            }
            subscriber.ack(delivery.receipt).await?;
        }
    };
    site.soon("a delivery comes", next).await
}

/// Publishes, and returns when all is confirmed.
pub(in super::super) async fn publish<P: Publisher>(
    site: &Site,
    publisher: &mut P,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<()> {
    let topic = Topic::new(TOPIC)?;
    let publishing = async {
        for number in numbers {
            publisher.publish(&topic, message(number, 64)).await?;
        }
        publisher.flush().await
    };
    site.soon("all is confirmed", publishing).await
}

/// Takes and acks until all of `expected` have come: numbers and attempts, in
/// the order in which they came.
pub(in super::super) async fn until<C: Consumer<Item = Event>>(
    site: &Site,
    subscriber: &mut C,
    expected: impl IntoIterator<Item = u64>,
) -> Result<Vec<(u64, u32)>> {
    let (mut missing, mut came): (Vec<u64>, _) = (expected.into_iter().collect(), Vec::new());
    while !missing.is_empty() {
        let delivery = next(site, subscriber).await;
        let delivery = delivery.with_context(|| format!("{} events have not come", missing.len()))?;
        let number = number(&delivery.item.body)?;
        missing.retain(|expected| *expected != number);
        came.push((number, delivery.attempt));
        subscriber.ack(delivery.receipt).await?;
    }
    subscriber.flush().await?;
    Ok(came)
}
