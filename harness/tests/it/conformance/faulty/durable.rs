//! Durable subscribers in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use labs::durable::DurablePubSub;
use labs::lab::{Knob, Lab as _};
use labs::pubsub::{Event, PubSub};
use labs::queue::{Consumer, Delivery};
use labs::topic::{Filter, Topic};

use super::fault::*;
use super::pubsub::Exchange;
use super::tank::Tank;
use super::{DEPTH, Faulty, Hand, SAYS_WAITS};

/// Deliveries that may be unsettled.
pub(super) const PREFETCH: Knob = Knob::new("prefetch", 64, "Deliveries a subscriber holds unsettled.");

/// What is kept for whom.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<String, Store>);

struct Store {
    filter: Filter,
    tank: Arc<Tank>,
    present: bool,
}

impl Kept {
    pub(super) fn put(&mut self, event: &Event, turn: usize, fault: usize) {
        let count = self.0.len();
        for (at, store) in self.0.values_mut().enumerate() {
            let lost = match fault {
                ONE_COPY => turn % count != at,
                MISSES => !store.present,
                _ => false,
            };
            if store.filter.matches(&event.topic) && !lost {
                let body = [event.topic.as_str().as_bytes(), b"\n", &event.body].concat();
                let mut tank = store.tank.lock();
                if fault == FORGETS && tank.ready.len() >= DEPTH {
                    tank.ready.pop_front();
                }
                tank.put(body.into());
            }
        }
    }
}

impl DurablePubSub for Faulty<SAYS_WAITS> {
    type Durable = Keeper;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<Keeper> {
        if self.fault != TAKES_ANY_FILTER {
            filter.require(Self::TRANSPORT, Self::FILTERS)?;
        }
        let filter = if self.fault == IGNORES_FILTER { Filter::All } else { filter.clone() };
        let most = self.place.knob(PREFETCH);
        let exchange: Arc<Exchange> = self.registered();
        let tank = exchange.keeping(|kept, history| {
            let new = !kept.0.contains_key(id);
            let store = kept.0.entry(id.to_owned()).or_insert_with(|| Store {
                filter,
                tank: Arc::default(),
                present: true,
            });
            store.present = true;
            let mut held = store.tank.lock();
            if new {
                for event in history {
                    held.put([event.topic.as_str().as_bytes(), b"\n", &event.body].concat().into());
                }
            }
            if self.fault == BACKWARDS {
                held.ready.make_contiguous().reverse();
            }
            drop(held);
            Arc::clone(&store.tank)
        });
        Ok(Keeper { hand: Hand::of(tank, &self.place, most, self.fault), exchange, id: id.to_owned() })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        if self.fault != NEVER_FORGETS {
            self.registered::<Exchange>().keeping(|kept, _| kept.0.remove(id));
        }
        Ok(())
    }
}

/// Takes out of what is kept for it.
pub(in super::super) struct Keeper {
    hand: Hand,
    exchange: Arc<Exchange>,
    id: String,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.exchange.keeping(|kept, _| {
            if let Some(store) = kept.0.get_mut(&self.id) {
                store.present = false;
            }
        });
    }
}

impl Consumer for Keeper {
    type Item = Event;
    type Receipt = u64;

    async fn next(&mut self) -> Result<Option<Delivery<Event, u64>>> {
        let Some(Delivery { item, attempt, receipt }) = self.hand.next().await? else { return Ok(None) };
        let end = item.iter().position(|byte| *byte == b'\n').context("no topic")?;
        let topic = Topic::new(std::str::from_utf8(&item[..end])?)?;
        Ok(Some(Delivery { item: Event { topic, body: item.slice(end + 1..) }, attempt, receipt }))
    }
    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.hand.ack(receipt).await
    }
    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.hand.nack(receipt).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.hand.flush().await
    }
    async fn close(mut self) -> Result<()> {
        // What is unsettled goes back when the hand is dropped, unless it is kept.
        if self.hand.fault == KEEPS {
            self.hand.held.clear();
        }
        Ok(())
    }
}
