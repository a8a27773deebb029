//! The producer's side: each message is kept in memory, delivered over a ROUTER socket
//! to a consumer that is alive, and confirmed when it is acked.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::Instant;
use zeromq::{RouterSocket, Socket, SocketSend, ZmqMessage};

use crate::lab::Place;
use crate::queue::AttemptLimit;
use crate::wire::peer_queue::{
    Failure, MAX_HELD, PeerLetter, PendingSend, PendingSends, QueueFrame, QueueState,
};
use crate::wire::zmq::{self, Accepting, Gauge};

/// Messages taken note of at once.
const GROUP: usize = 1024;

/// Dead letters in one answer.
const SHOWN: usize = 64;

/// Frames that wait for one consumer: all that it may hold, and answers to what it says.
const MAX_UNWRITTEN: usize = 2 * MAX_HELD as usize;

/// The messages that the producer holds, and the consumers that are alive. A consumer is
/// known by the identity that ROUTER gives its connection.
pub(super) struct MemoryQueue {
    socket: RouterSocket,
    queue: QueueState<Bytes>,
    /// The messages, by number, and whom to confirm them to.
    unconfirmed: HashMap<u64, PendingSend>,
    /// The dead letters, by number.
    dead: BTreeMap<u64, PeerLetter>,
    /// The consumers that have sent something lately.
    alive: HashMap<Bytes, Alive>,
    identity: u64,
    lease: Duration,
    place: Place,
    _accepting: Accepting,
}

/// A consumer that is alive.
struct Alive {
    /// When it last sent something.
    last: Instant,
    /// Frames for it that the socket has not written yet.
    unwritten: Gauge,
}

impl MemoryQueue {
    /// Listens for consumers. One that is silent for the time of a lease is taken to
    /// be gone.
    pub(super) async fn bind(place: &Place, lease: Duration) -> Result<Self> {
        let mut socket = RouterSocket::new();
        let accepting = zmq::bind(&mut socket, place).await?;
        Ok(Self {
            socket,
            queue: QueueState::new(1, []).with_limit(AttemptLimit::of(place)),
            unconfirmed: HashMap::new(),
            dead: BTreeMap::new(),
            alive: HashMap::new(),
            identity: RandomState::new().hash_one("a queue"),
            lease,
            place: place.clone(),
            _accepting: accepting,
        })
    }

    /// Takes sends, and holds no more than `high_water` messages at a time, until no more
    /// can come; then waits for the consumers that are alive, for as long as `linger`.
    pub(super) async fn run(
        mut self,
        mut sends: PendingSends,
        high_water: usize,
        linger: Duration,
    ) -> Result<()> {
        let mut check = tokio::time::interval(self.lease / 4);
        let mut group = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                message = zmq::receive(&mut self.socket) => self.handle(message?).await,
                count = sends.recv_many(&mut group, GROUP), if self.queue.len() + self.dead.len() < high_water => {
                    if count == 0 {
                        break;
                    }
                    for send in group.drain(..) {
                        self.unconfirmed.insert(self.queue.add(), send);
                    }
                }
                _ = check.tick() => self.forget_the_silent(),
            }
            self.deliver().await?;
        }
        let settle = async {
            while self.queue.has_consumers() && !self.queue.is_empty() {
                tokio::select! {
                    message = zmq::receive(&mut self.socket) => self.handle(message?).await,
                    _ = check.tick() => self.forget_the_silent(),
                }
                self.deliver().await?;
            }
            for consumer in self.alive.values() {
                consumer.unwritten.drained().await;
            }
            Ok(())
        };
        let left = tokio::time::timeout(linger, settle).await;
        match self.queue.len() {
            // A consumer that does not read its answers is not waited for longer.
            0 => left.unwrap_or(Ok(())),
            some => left.unwrap_or_else(|_| Err(anyhow!("{some} messages were not acked"))),
        }
    }

    /// Does what a consumer wants. ROUTER has put the consumer's identity in front.
    async fn handle(&mut self, message: ZmqMessage) {
        let mut frames = message.into_vec().into_iter();
        let (Some(consumer), Some(head)) = (frames.next(), frames.next()) else { return };
        let now = Instant::now();
        let unknown = || Alive { last: now, unwritten: Gauge::default() };
        self.alive.entry(consumer.clone()).or_insert_with(unknown).last = now;
        match QueueFrame::decode(head) {
            // It comes again and again: it is the consumer's heartbeat, and the answer is ours.
            Ok(QueueFrame::Join(limit)) => {
                self.queue.join(consumer.clone(), limit.min(MAX_HELD) as usize);
                self.send(consumer, QueueFrame::Welcome(self.identity)).await;
            }
            Ok(QueueFrame::Acked(token, ids)) => {
                for id in ids {
                    self.queue.settle(id);
                    // A consumer was done with it while it was given up.
                    self.dead.remove(&id);
                    if let Some(send) = self.unconfirmed.remove(&id) {
                        let _ = send.confirm.send(Ok(()));
                    }
                }
                // The queue is only in memory, so that what is known is as durable as it gets.
                self.send(consumer, QueueFrame::Durable(token)).await;
            }
            Ok(QueueFrame::Nacked(ids)) => ids.iter().for_each(|id| self.queue.give_back(&consumer, *id)),
            Ok(QueueFrame::Leave(token)) => {
                self.queue.leave(&consumer);
                self.send(consumer, QueueFrame::Known(token)).await;
            }
            Ok(QueueFrame::Inspect(after)) => self.show_dead(consumer, after).await,
            Ok(QueueFrame::Return(log, id)) => {
                let letter = self.take_dead(log, id);
                let found = letter.is_some();
                if let Some(PeerLetter { body, .. }) = letter {
                    // Its sender has been told that it is dead, and waits no more.
                    self.unconfirmed
                        .insert(self.queue.add(), PendingSend { body, confirm: oneshot::channel().0 });
                }
                self.send(consumer, QueueFrame::Found(found)).await;
            }
            Ok(QueueFrame::Discard(log, id)) => {
                let found = self.take_dead(log, id).is_some();
                self.send(consumer, QueueFrame::Found(found)).await;
            }
            // What sends anything else does not speak this protocol.
            Ok(other) => self.disconnect(&consumer, format_args!("a consumer that says {other:?}")),
            Err(error) => self.disconnect(&consumer, error),
        }
    }

    /// Answers with some of the dead letters that have higher numbers.
    async fn show_dead(&mut self, whom: Bytes, after: u64) {
        let higher = self.dead.range(after.saturating_add(1)..).take(SHOWN);
        let letters: Vec<PeerLetter> = higher.map(|(_, letter)| letter.clone()).collect();
        let found = !letters.is_empty();
        for letter in letters {
            self.send(whom.clone(), QueueFrame::Dead(letter)).await;
        }
        self.send(whom, QueueFrame::Found(found)).await;
    }

    fn take_dead(&mut self, log: u64, id: u64) -> Option<PeerLetter> {
        if log == self.identity { self.dead.remove(&id) } else { None }
    }

    /// Puts aside what has failed too often: its sender is told.
    fn bury(&mut self) {
        for Failure { id, attempts, reason, dead } in self.queue.take_failures() {
            if !dead {
                continue;
            }
            let Some(PendingSend { body, confirm }) = self.unconfirmed.remove(&id) else { continue };
            let why = anyhow!("no consumer could handle it: {attempts} attempts have failed ({reason})");
            let _ = confirm.send(Err(why));
            let (log, reason) = (self.identity, reason.to_owned());
            self.dead.insert(id, PeerLetter { log, id, attempts, reason, body });
        }
    }

    /// Takes what else has come, then delivers what may be delivered.
    async fn deliver(&mut self) -> Result<()> {
        for _ in 0..GROUP {
            let Some(message) = unconstrained(zmq::receive(&mut self.socket)).now_or_never() else { break };
            self.handle(message?).await;
        }
        self.bury();
        while let Some(offer) = self.queue.offer() {
            let body = self.unconfirmed.get(&offer.id).map(|send| send.body.clone()).unwrap_or_default();
            self.send(offer.consumer, QueueFrame::Message(offer.id, offer.attempt, body)).await;
        }
        Ok(())
    }

    /// Sends a frame to a consumer; ROUTER knows when its connection is gone.
    async fn send(&mut self, consumer: Bytes, frame: QueueFrame) {
        let Some(alive) = self.alive.get(&consumer) else { return };
        let head = alive.unwritten.count(frame.head());
        if alive.unwritten.queued() > MAX_UNWRITTEN {
            return self.disconnect(&consumer, "a consumer that does not read");
        }
        let delivered = match &frame {
            QueueFrame::Message(id, ..) => Some(*id),
            _ => None,
        };
        let mut message = ZmqMessage::from(consumer.clone());
        message.push_back(head);
        if let QueueFrame::Message(_, _, body) | QueueFrame::Dead(PeerLetter { body, .. }) = frame {
            message.push_back(body);
        }
        if self.socket.send(message).await.is_err() {
            self.alive.remove(&consumer);
            // Nobody has failed to handle what the socket did not take.
            self.queue.leave_unsent(&consumer, |id| Some(id) == delivered);
        }
    }

    fn forget_the_silent(&mut self) {
        let now = Instant::now();
        let silent = |consumer: &Alive| consumer.last + self.lease < now;
        let silent: Vec<Bytes> = self
            .alive
            .iter()
            .filter(|(_, alive)| silent(alive))
            .map(|(consumer, _)| consumer.clone())
            .collect();
        silent.iter().for_each(|consumer| self.forget(consumer));
    }

    /// Ends the connection of a consumer that has broken the protocol; what it holds comes back.
    fn disconnect(&mut self, consumer: &Bytes, why: impl Display) {
        self.forget(consumer);
        zmq::disconnect(&self.socket, &self.place, consumer, why);
    }

    fn forget(&mut self, consumer: &Bytes) {
        self.alive.remove(consumer);
        self.queue.leave(consumer);
    }
}
