//! Publish/subscribe in memory.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use labs::lab::{Lab as _, Place};
use labs::pubsub::{Event, PubSub, Publisher, Subscriber};
use labs::topic::{Filter, FilterKind, Topic};

use super::durable::Kept;
use super::fault::*;
use super::foreign::skips;
use super::tank::{Tank, pause};
use super::{Faulty, SAYS_WAITS};

#[derive(Default)]
pub(super) struct Exchange(Mutex<State>);

#[derive(Default)]
struct State {
    listeners: Vec<(Filter, Arc<Topics>)>,
    kept: Kept,
    history: Vec<Event>,
    published: usize,
}

impl Exchange {
    /// What is kept for durable subscribers, and what was published before.
    pub(super) fn keeping<T>(&self, with: impl FnOnce(&mut Kept, &[Event]) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { kept, history, .. } = &mut *state;
        with(kept, history)
    }
}

/// The topics of the bodies in the tank, in the same order.
#[derive(Default)]
struct Topics {
    tank: Tank,
    topics: Mutex<std::collections::VecDeque<Topic>>,
}

impl Topics {
    fn put(&self, event: Event) {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).push_back(event.topic);
        self.tank.lock().put(event.body);
    }
}

impl PubSub for Faulty<SAYS_WAITS> {
    const FILTERS: &'static [FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Words];
    type Publisher = Announcer;
    type Subscriber = Listener;

    async fn publisher(&self) -> Result<Announcer> {
        Ok(Announcer { exchange: self.registered(), fault: self.fault })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<Listener> {
        if self.fault != TAKES_ANY_FILTER {
            filter.require(Self::TRANSPORT, Self::FILTERS)?;
        }
        let filter = if self.fault == IGNORES_FILTER { Filter::All } else { filter.clone() };
        let mut listener = Listener {
            exchange: self.registered(),
            place: self.place.clone(),
            fault: self.fault,
            filter,
            inbox: Arc::default(),
            live: false,
        };
        if self.fault != JOINS_LATE {
            listener.join();
        }
        Ok(listener)
    }
}

pub(in super::super) struct Announcer {
    exchange: Arc<Exchange>,
    fault: usize,
}

impl Publisher for Announcer {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let mut state = self.exchange.0.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Event { topic: topic.clone(), body };
        state.published += 1;
        let (turn, count) = (state.published, state.listeners.len());
        for (at, (filter, inbox)) in state.listeners.iter().enumerate() {
            if filter.matches(topic) && (self.fault != ONE_COPY || turn % count == at) {
                inbox.put(event.clone());
            }
        }
        state.kept.put(&event, turn, self.fault);
        if self.fault == REPLAYS {
            state.history.push(event);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

pub(in super::super) struct Listener {
    exchange: Arc<Exchange>,
    place: Place,
    fault: usize,
    filter: Filter,
    inbox: Arc<Topics>,
    live: bool,
}

impl Listener {
    fn join(&mut self) {
        let mut state = self.exchange.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.history.iter().for_each(|event| self.inbox.put(event.clone()));
        state.listeners.push((self.filter.clone(), Arc::clone(&self.inbox)));
        self.live = true;
    }
}

impl Subscriber for Listener {
    async fn next(&mut self) -> Result<Option<Event>> {
        if !self.live {
            self.join();
        }
        loop {
            if let Some(item) = self.inbox.tank.lock().take(None) {
                let topic = self.inbox.topics.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                if skips(&item.body, &self.place, self.fault)? {
                    continue;
                }
                return Ok(topic.map(|topic| Event { topic, body: item.body }));
            }
            pause().await;
        }
    }
}
