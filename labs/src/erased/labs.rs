//! Type-erased labs: each is a table of functions that open its ends.

use anyhow::Result;
use futures_util::FutureExt as _;

use super::{
    AnyConsumer, AnyDeadLetters, AnyProducer, AnyPublisher, AnyRequester, AnyResponder, AnySender,
    AnySubscriber, Soon,
};
use crate::durable::DurablePubSub;
use crate::lab::{Guarantee, Lab as _, Place};
use crate::message::Event;
use crate::pipeline::{Pipeline, Stage};
use crate::pubsub::PubSub;
use crate::queue::{Depth, Queue};
use crate::recovery::Recovering;
use crate::reqrep::RequestReply;
use crate::topic::{Filter, FilterKind};

type Remove = fn(&Place) -> Soon<'_, ()>;

/// A publish/subscribe lab.
#[derive(Clone, Copy)]
pub struct PubSubLab {
    /// The filters that its subscribers can have.
    pub filters: &'static [FilterKind],
    publisher: fn(&Place) -> Soon<'_, AnyPublisher>,
    subscriber: for<'a> fn(&'a Place, &'a Filter) -> Soon<'a, AnySubscriber>,
    remove: Remove,
}

impl PubSubLab {
    /// Erases a lab.
    pub fn of<L: PubSub>() -> Self {
        Self {
            filters: L::FILTERS,
            publisher: |place| {
                async move { Ok(AnyPublisher::new(Recovering::<L>::open(place).await?.publisher().await?)) }
                    .boxed_local()
            },
            subscriber: |place, filter| {
                async move {
                    Ok(AnySubscriber::new(Recovering::<L>::open(place).await?.subscriber(filter).await?))
                }
                .boxed_local()
            },
            remove: |place| L::remove(place).boxed_local(),
        }
    }

    /// Opens the lab for a publisher.
    pub async fn publisher(&self, place: &Place) -> Result<AnyPublisher> {
        (self.publisher)(place).await
    }

    /// Opens the lab for a subscriber.
    pub async fn subscriber(&self, place: &Place, filter: &Filter) -> Result<AnySubscriber> {
        (self.subscriber)(place, filter).await
    }

    /// Removes everything of the lab from the broker.
    pub async fn remove(&self, place: &Place) -> Result<()> {
        (self.remove)(place).await
    }
}

/// A durable publish/subscribe lab.
#[derive(Clone, Copy)]
pub struct DurableLab {
    /// The part shared with plain publish/subscribe labs.
    pub pub_sub: PubSubLab,
    durable: for<'a> fn(&'a Place, &'a str, &'a Filter) -> Soon<'a, AnyConsumer<Event>>,
    forget: for<'a> fn(&'a Place, &'a str) -> Soon<'a, ()>,
}

impl DurableLab {
    /// Erases a lab.
    pub fn of<L: DurablePubSub>() -> Self {
        Self {
            pub_sub: PubSubLab::of::<L>(),
            durable: |place, id, filter| {
                async move { Ok(AnyConsumer::new(Recovering::<L>::open(place).await?.durable(id, filter).await?)) }
                    .boxed_local()
            },
            forget: |place, id| {
                async move { Recovering::<L>::open(place).await?.forget(id).await }.boxed_local()
            },
        }
    }

    /// Opens the lab for the durable subscriber of this identifier.
    pub async fn durable(&self, place: &Place, id: &str, filter: &Filter) -> Result<AnyConsumer<Event>> {
        (self.durable)(place, id, filter).await
    }

    /// Ends the subscription of this identifier for good.
    pub async fn forget(&self, place: &Place, id: &str) -> Result<()> {
        (self.forget)(place, id).await
    }
}

/// A request/reply lab.
#[derive(Clone, Copy)]
pub struct RequestReplyLab {
    requester: fn(&Place) -> Soon<'_, AnyRequester>,
    responder: fn(&Place) -> Soon<'_, AnyResponder>,
    remove: Remove,
}

impl RequestReplyLab {
    /// Erases a lab.
    pub fn of<L: RequestReply>() -> Self {
        Self {
            requester: |place| {
                async move { Ok(AnyRequester::new(Recovering::<L>::open(place).await?.requester().await?)) }
                    .boxed_local()
            },
            responder: |place| {
                async move { Ok(AnyResponder::new(Recovering::<L>::open(place).await?.responder().await?)) }
                    .boxed_local()
            },
            remove: |place| L::remove(place).boxed_local(),
        }
    }

    /// Opens the lab for a requester.
    pub async fn requester(&self, place: &Place) -> Result<AnyRequester> {
        (self.requester)(place).await
    }

    /// Opens the lab for a responder.
    pub async fn responder(&self, place: &Place) -> Result<AnyResponder> {
        (self.responder)(place).await
    }

    /// Removes everything of the lab from the broker.
    pub async fn remove(&self, place: &Place) -> Result<()> {
        (self.remove)(place).await
    }
}

/// A pipeline lab, with its control channel.
#[derive(Clone, Copy)]
pub struct PipelineLab {
    /// Its guarantee.
    pub guarantee: Guarantee,
    /// The channel that carries `stop`.
    pub control: PubSubLab,
    push: fn(&Place, Stage) -> Soon<'_, AnySender>,
    pull: fn(&Place, Stage) -> Soon<'_, AnyConsumer>,
    remove: Remove,
}

impl PipelineLab {
    /// Erases a lab.
    pub fn of<L: Pipeline>() -> Self {
        Self {
            guarantee: L::GUARANTEE,
            control: PubSubLab::of::<L::Control>(),
            push: |place, stage| {
                async move { Ok(AnySender::new(Recovering::<L>::open(place).await?.push(stage).await?)) }
                    .boxed_local()
            },
            pull: |place, stage| {
                async move { Ok(AnyConsumer::new(Recovering::<L>::open(place).await?.pull(stage).await?)) }
                    .boxed_local()
            },
            remove: |place| L::remove(place).boxed_local(),
        }
    }

    /// Opens the lab at the sending end of a stage.
    pub async fn push(&self, place: &Place, stage: Stage) -> Result<AnySender> {
        (self.push)(place, stage).await
    }

    /// Opens the lab at the receiving end of a stage.
    pub async fn pull(&self, place: &Place, stage: Stage) -> Result<AnyConsumer> {
        (self.pull)(place, stage).await
    }

    /// Removes everything of the lab from the broker; the control channel has a `remove` of its
    /// own.
    pub async fn remove(&self, place: &Place) -> Result<()> {
        (self.remove)(place).await
    }
}

/// A queue lab.
#[derive(Clone, Copy)]
pub struct QueueLab {
    producer: fn(&Place) -> Soon<'_, AnyProducer>,
    consumer: fn(&Place, u16) -> Soon<'_, AnyConsumer>,
    dead_letters: fn(&Place) -> Soon<'_, AnyDeadLetters>,
    depth: fn(&Place) -> Soon<'_, Option<Depth>>,
    remove: Remove,
}

impl QueueLab {
    /// Erases a lab.
    pub fn of<L: Queue>() -> Self {
        Self {
            producer: |place| {
                async move { Ok(AnyProducer::new(Recovering::<L>::open(place).await?.producer().await?)) }
                    .boxed_local()
            },
            consumer: |place, prefetch| {
                async move { Ok(AnyConsumer::new(Recovering::<L>::open(place).await?.consumer(prefetch).await?)) }
                    .boxed_local()
            },
            dead_letters: |place| {
                async move { Ok(AnyDeadLetters::new(Recovering::<L>::open(place).await?.dead_letters().await?)) }
                    .boxed_local()
            },
            depth: |place| async move { L::open(place).await?.depth().await }.boxed_local(),
            remove: |place| L::remove(place).boxed_local(),
        }
    }

    /// Opens the lab for a producer.
    pub async fn producer(&self, place: &Place) -> Result<AnyProducer> {
        (self.producer)(place).await
    }

    /// Opens the lab for a consumer with at most `prefetch` unsettled deliveries.
    pub async fn consumer(&self, place: &Place, prefetch: u16) -> Result<AnyConsumer> {
        (self.consumer)(place, prefetch).await
    }

    /// How many messages the broker itself says that it holds.
    pub async fn depth(&self, place: &Place) -> Result<Option<Depth>> {
        (self.depth)(place).await
    }

    /// Opens the lab's dead letters.
    pub async fn dead_letters(&self, place: &Place) -> Result<AnyDeadLetters> {
        (self.dead_letters)(place).await
    }

    /// Removes everything of the lab from the broker.
    pub async fn remove(&self, place: &Place) -> Result<()> {
        (self.remove)(place).await
    }
}
