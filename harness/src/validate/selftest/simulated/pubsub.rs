//! Publish/subscribe and durable subscribers over the simulated transport: one wire per
//! subscriber.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use labs::durable::DurablePubSub;
use labs::pubsub::{Event, PubSub, Publisher, Subscriber};
use labs::queue::{Consumer, Delivery};
use labs::topic::{Filter, FilterKind, Topic};

use super::SimulatedLab;
use crate::validate::selftest::transport::{Accepted, Entrance, Exit, SimulatedTransport};

impl PubSub for SimulatedLab {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    type Publisher = Publishing;
    type Subscriber = Listening;

    async fn publisher(&self) -> Result<Publishing> {
        Ok(Publishing { transport: self.transport()?, entrance: None, unconfirmed: Vec::new() })
    }

    async fn subscriber(&self, _: &Filter) -> Result<Listening> {
        let transport = self.transport()?;
        let (number, wire) = transport.another_wire();
        Ok(Listening { exit: Exit::of(transport, wire, number)?, topic: Topic::new("known")? })
    }
}

impl DurablePubSub for SimulatedLab {
    type Durable = Listening;

    async fn durable(&self, _: &str, filter: &Filter) -> Result<Listening> {
        self.subscriber(filter).await
    }

    async fn forget(&self, _: &str) -> Result<()> {
        Ok(())
    }
}

/// The publishing end.
pub(in crate::validate::selftest) struct Publishing {
    transport: Arc<SimulatedTransport>,
    /// Opened with the first event, when all subscribers are there.
    entrance: Option<Entrance>,
    /// Accepted since the last flush, which confirms.
    unconfirmed: Vec<Accepted>,
}

impl Publisher for Publishing {
    async fn publish(&mut self, _: &Topic, body: Bytes) -> Result<()> {
        let entrance = match &mut self.entrance {
            Some(entrance) => entrance,
            none => none.insert(Entrance::to(Arc::clone(&self.transport), self.transport.wires())?),
        };
        self.unconfirmed.extend(entrance.put(body, None).await?);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        for accepted in self.unconfirmed.drain(..) {
            if let Some(entrance) = &self.entrance {
                entrance.confirm(&accepted).await?;
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// A subscriber, plain or durable.
pub(in crate::validate::selftest) struct Listening {
    exit: Exit,
    topic: Topic,
}

impl Subscriber for Listening {
    async fn next(&mut self) -> Result<Option<Event>> {
        let body = self.exit.take().await?.body;
        Ok(Some(Event { topic: self.topic.clone(), body }))
    }
}

impl Consumer for Listening {
    type Item = Event;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Event, ()>>> {
        let parcel = self.exit.take().await?;
        let item = Event { topic: self.topic.clone(), body: parcel.body };
        Ok(Some(Delivery { item, attempt: parcel.attempt, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
