//! A lab over a broker in memory, whose connections a test cuts at any step.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::message::Event;
use crate::oneway::{OneWay, Receiver, Sender};
use crate::pubsub::{PubSub, Publisher, Subscriber};
use crate::queue::{Consumer, DeadLetter, DeadLetters, Delivery, Producer, Queue};
use crate::recovery::disconnected;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::topic::{Filter, FilterKind, Topic};

/// The broker.
#[derive(Default)]
pub(super) struct Server {
    state: Mutex<State>,
    changed: Notify,
}

/// What the broker has.
#[derive(Default)]
pub(super) struct State {
    /// The number of the latest cut: connections from before are dead.
    cuts: u64,
    /// Steps that ends have made, and before which of them the connections are cut.
    steps: u64,
    pub(super) cut_at: Option<u64>,
    /// Attempts to open that fail yet.
    pub(super) down: u32,
    /// Every connection is cut when it is used.
    pub(super) flaps: bool,
    pub(super) opened: u32,
    /// Everything that was taken in, in order.
    pub(super) taken: Vec<Bytes>,
    /// Waits to be delivered, each with its attempt.
    pub(super) queue: VecDeque<(Bytes, u32)>,
    /// Delivered and not settled: over which connection, its number, the message, its attempt.
    pub(super) held: Vec<(u64, u64, Bytes, u32)>,
    tags: u64,
}

impl Server {
    pub(super) fn of(place: &Place) -> Arc<Self> {
        place.registered(Self::default)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every connection that is open now; what they hold goes back.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.cuts += 1;
        for (_, _, body, attempt) in std::mem::take(&mut state.held).into_iter().rev() {
            state.queue.push_front((body, attempt + 1));
        }
        self.changed.notify_waiters();
    }

    pub(super) fn add(&self, body: &str) {
        self.state().queue.push_back((Bytes::copy_from_slice(body.as_bytes()), 1));
        self.changed.notify_waiters();
    }
}

/// What an end has of it.
pub(super) struct Connection {
    server: Arc<Server>,
    cuts: u64,
    buffer: Vec<Bytes>,
}

impl Connection {
    fn open(place: &Place) -> Result<Self> {
        let server = Server::of(place);
        let mut state = server.state();
        state.opened += 1;
        if let Some(down) = state.down.checked_sub(1) {
            state.down = down;
            bail!("the broker is starting");
        }
        let cuts = state.cuts;
        drop(state);
        Ok(Self { server, cuts, buffer: Vec::new() })
    }

    /// One step of an operation: where a connection can be cut.
    async fn step(&self) -> Result<()> {
        yield_now().await;
        let cut = {
            let mut state = self.server.state();
            state.steps += 1;
            state.flaps || state.cut_at == Some(state.steps)
        };
        if cut {
            self.server.cut();
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        if self.cuts == self.server.state().cuts { Ok(()) } else { Err(disconnected("the cable was cut")) }
    }

    async fn write(&mut self) -> Result<()> {
        self.step().await?;
        self.server.state().taken.append(&mut self.buffer);
        self.step().await
    }

    /// The next message, and the number under which it is held.
    async fn deliver(&self) -> Result<(u64, Bytes, u32)> {
        self.step().await?;
        loop {
            let changed = self.server.changed.notified();
            self.check()?;
            {
                let mut state = self.server.state();
                if let Some((body, attempt)) = state.queue.pop_front() {
                    state.tags += 1;
                    let tag = state.tags;
                    state.held.push((self.cuts, tag, body.clone(), attempt));
                    return Ok((tag, body, attempt));
                }
            }
            changed.await;
        }
    }

    /// What nobody acknowledges is not held.
    fn forget(&self, tag: u64) {
        self.server.state().held.retain(|(_, held, ..)| *held != tag);
    }

    async fn settle(&self, tag: u64, again: bool) -> Result<()> {
        self.step().await?;
        let mut state = self.server.state();
        let at = state.held.iter().position(|(cuts, held, ..)| (*cuts, *held) == (self.cuts, tag));
        let Some(at) = at else { bail!("PRECONDITION_FAILED: unknown delivery {tag}") };
        let (_, _, body, attempt) = state.held.remove(at);
        if again {
            state.queue.push_back((body, attempt + 1));
        }
        Ok(())
    }
}

/// The lab: at most once, or at least once.
pub(super) struct Fake<const KEEPS: bool>(Place);

impl<const KEEPS: bool> Lab for Fake<KEEPS> {
    const TRANSPORT: &'static str = "fake";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = if KEEPS { Guarantee::AtLeastOnce } else { Guarantee::AtMostOnce };
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }
    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl<const KEEPS: bool> OneWay for Fake<KEEPS> {
    type Sender = Connection;
    type Receiver = Connection;
    async fn sender(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
    async fn receiver(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
}

impl<const KEEPS: bool> Queue for Fake<KEEPS> {
    type Producer = Connection;
    type Consumer = Connection;
    type DeadLetters = NoDeadLetters;
    async fn producer(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
    async fn consumer(&self, _: u16) -> Result<Connection> {
        Connection::open(&self.0)
    }
    async fn dead_letters(&self) -> Result<NoDeadLetters> {
        Ok(NoDeadLetters)
    }
}

/// It gives up no message.
pub(super) struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn list(&mut self, _: usize) -> Result<Vec<DeadLetter>> {
        Ok(Vec::new())
    }
    async fn give_back(&mut self, _: &str) -> Result<bool> {
        Ok(false)
    }
    async fn discard(&mut self, _: &str) -> Result<bool> {
        Ok(false)
    }
}

impl<const KEEPS: bool> PubSub for Fake<KEEPS> {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    type Publisher = Connection;
    type Subscriber = Connection;
    async fn publisher(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
    async fn subscriber(&self, _: &Filter) -> Result<Connection> {
        Connection::open(&self.0)
    }
}

impl<const KEEPS: bool> RequestReply for Fake<KEEPS> {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = Connection;
    type Responder = Connection;
    async fn requester(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
    async fn responder(&self) -> Result<Connection> {
        Connection::open(&self.0)
    }
}

impl Sender for Connection {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        anyhow::ensure!(body.len() <= 100, "{} bytes are too many", body.len());
        self.step().await?;
        self.buffer.push(body);
        Ok(())
    }
    async fn flush(&mut self) -> Result<()> {
        self.write().await
    }
    async fn close(mut self) -> Result<()> {
        self.write().await
    }
}

impl Publisher for Connection {
    async fn publish(&mut self, _: &Topic, body: Bytes) -> Result<()> {
        Sender::send(self, body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.write().await
    }
    async fn close(mut self) -> Result<()> {
        self.write().await
    }
}

impl Receiver for Connection {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        let (tag, body, _) = self.deliver().await?;
        self.forget(tag);
        Ok(Some(body))
    }
}

impl Subscriber for Connection {
    /// Says that the publisher has left when it gets `bye`.
    async fn next(&mut self) -> Result<Option<Event>> {
        let (tag, body, _) = self.deliver().await?;
        self.forget(tag);
        Ok((body != "bye").then_some(Event { topic: Topic::new("t")?, body }))
    }
}

impl Producer for Connection {
    async fn send(&self, body: Bytes) -> Result<()> {
        anyhow::ensure!(body.len() <= 100, "{} bytes are too many", body.len());
        self.step().await?;
        self.server.state().taken.push(body);
        self.step().await
    }
    async fn close(self) -> Result<()> {
        Ok(())
    }
}

impl Consumer for Connection {
    type Item = Bytes;
    type Receipt = u64;
    async fn next(&mut self) -> Result<Option<Delivery<Bytes, u64>>> {
        let (receipt, item, attempt) = self.deliver().await?;
        Ok(Some(Delivery { item, attempt, receipt }))
    }
    async fn ack(&mut self, receipt: u64) -> Result<()> {
        self.settle(receipt, false).await
    }
    async fn nack(&mut self, receipt: u64) -> Result<()> {
        self.settle(receipt, true).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.step().await
    }
    async fn close(self) -> Result<()> {
        self.step().await
    }
}

impl Requester for Connection {
    async fn ask(&self, request: Command) -> Result<Document> {
        self.step().await?;
        self.server.state().taken.push(request.0.clone());
        self.step().await?;
        Ok(Document(request.0))
    }
}

impl Responder for Connection {
    type ReplyTo = u64;
    async fn next(&mut self) -> Result<Option<(Command, u64)>> {
        let (tag, body, _) = self.deliver().await?;
        Ok(Some((Command(body), tag)))
    }
    async fn reply(&mut self, to: u64, _: Document) -> Result<()> {
        self.settle(to, false).await
    }
}
