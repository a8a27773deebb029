//! The producer's side: each message is committed to the log, confirmed, delivered to
//! a consumer that is connected, and taken out of the log when it is acked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::log::{Changes, Log};
use crate::lab::Place;
use crate::queue::AttemptLimit;
use crate::wire::frames::{FrameEvent, FrameListener};
use crate::wire::peer_queue::{
    Failure, MAX_HELD, PeerLetter, PendingSend, PendingSends, QueueFrame, QueueState, heartbeat,
};
use crate::wire::sockets::{Bound, ConnectionId};

/// Messages in one commit, at most.
const GROUP: usize = 512;
/// Bytes of dead letters in one answer, about.
const ANSWER: usize = 1 << 20;
/// How long an ack waits for others to be logged with.
const SETTLE: Duration = Duration::from_millis(20);

/// The log, and the consumers that are connected.
pub(super) struct Outbox {
    listener: FrameListener,
    log: Log,
    queue: QueueState<ConnectionId>,
    /// When each consumer last sent something.
    alive: HashMap<ConnectionId, Instant>,
    lease: Option<Duration>,
    /// Deliveries that may not be written yet: the message, and where its frame ends in all that was put.
    unsent: HashMap<ConnectionId, VecDeque<(u64, u64)>>,
    /// What the next commit takes out of the log, and who is told of it then.
    settled: Settled,
}

#[derive(Default)]
struct Settled {
    ids: Vec<u64>,
    /// Consumers that hear `Durable` with their token.
    answers: Vec<(ConnectionId, u64)>,
    /// Messages that have failed.
    failed: Vec<Failure>,
    /// Dead letters that are sent again, or discarded (no body), and who is told then.
    returned: Vec<(ConnectionId, Option<Bytes>)>,
}

impl Settled {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.failed.is_empty()
    }
}

/// A commit that has ended: what was in it, and what came of it.
type Committed = (Vec<PendingSend>, Settled, Result<()>);

impl Outbox {
    /// Opens the role's log, and listens for consumers. One that is silent for the time of a lease
    /// is taken to be gone.
    pub(super) async fn open(place: &Place, fsync: bool, lease: Option<Duration>) -> Result<Self> {
        let (log, left) = Log::open(place, fsync)?;
        let mut queue = QueueState::new(log.next, left).with_limit(AttemptLimit::of(place));
        log.failed.iter().for_each(|(id, failed)| queue.has_failed(*id, failed.attempts));
        let listener = FrameListener::new(Bound::tcp(place).await?);
        let (alive, unsent, settled) = (HashMap::new(), HashMap::new(), Settled::default());
        Ok(Self { listener, log, queue, alive, lease, unsent, settled })
    }

    /// Takes sends until no more can come, then delivers what it can to the consumers
    /// that are connected, for as long as `linger`.
    pub(super) async fn run(mut self, mut sends: PendingSends, linger: Duration) -> Result<()> {
        // One commit at a time; all that comes meanwhile shares the next one.
        let mut commit = FuturesUnordered::new();
        let mut group = Vec::with_capacity(GROUP);
        // Nobody waits for an ack to be logged: so it waits a while for others.
        let mut late = tokio::time::interval(SETTLE);
        late.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = heartbeat(self.lease);
        let (mut closing, mut deadline) = (false, pin!(tokio::time::sleep(linger)));
        loop {
            let (mut due, mut look) = (false, false);
            tokio::select! {
                event = self.listener.event() => self.handle(event),
                count = sends.recv_many(&mut group, GROUP), if !closing && commit.is_empty() => {
                    if count == 0 {
                        closing = true;
                        deadline.set(tokio::time::sleep(linger));
                    }
                }
                Some(committed) = commit.next() => self.committed(committed)?,
                _ = late.tick(), if !self.settled.is_empty() && commit.is_empty() => due = true,
                _ = check.tick(), if self.lease.is_some() => look = true,
                () = &mut deadline, if closing => break,
            }
            for _ in 0..GROUP {
                let Some(event) = unconstrained(self.listener.event()).now_or_never() else { break };
                self.handle(event);
            }
            // Not before what they have sent was read: it was this task that may have been held up.
            if look {
                self.disconnect_the_silent();
            }
            self.collect_failures();
            if commit.is_empty() {
                while group.len() < GROUP
                    && let Ok(send) = sends.try_recv()
                {
                    group.push(send);
                }
                due |= closing || self.settled.ids.len() >= GROUP || !self.settled.returned.is_empty();
                if !group.is_empty() || (due && !self.settled.is_empty()) {
                    commit.push(self.commit(std::mem::take(&mut group)));
                } else if closing && (self.queue.is_empty() || !self.queue.has_consumers()) {
                    // What nobody has fetched stays in the log for the next time.
                    break;
                }
            }
            self.deliver()?;
        }
        let _ = tokio::time::timeout(linger, self.listener.flush()).await;
        Ok(())
    }

    /// Does what a consumer wants; one whose connection has ended gives back what it holds.
    fn handle(&mut self, event: FrameEvent) {
        let (consumer, bytes) = match event {
            FrameEvent::Frame(consumer, bytes) => (consumer, bytes),
            FrameEvent::Closed(consumer, written) => {
                self.alive.remove(&consumer);
                // Nobody has failed to handle what was never written.
                let put = self.unsent.remove(&consumer).unwrap_or_default().into_iter();
                let unsent: HashSet<u64> = put.filter(|(_, end)| *end > written).map(|(id, _)| id).collect();
                return self.queue.leave_unsent(&consumer, |id| unsent.contains(&id));
            }
            FrameEvent::Written => return,
        };
        self.alive.insert(consumer, Instant::now());
        match QueueFrame::decode(bytes) {
            // It comes again and again: it is the consumer's heartbeat.
            Ok(QueueFrame::Join(limit)) => {
                self.queue.join(consumer, limit.min(MAX_HELD) as usize);
                self.put(consumer, &QueueFrame::Welcome(self.log.identity));
            }
            Ok(QueueFrame::Acked(token, ids)) => {
                self.collect_failures();
                for id in ids {
                    // A consumer was done with it while it was given up: it is no dead letter any more.
                    if self.queue.settle(id) || self.is_dead(id) {
                        self.settled.ids.push(id);
                    }
                }
                self.settled.answers.push((consumer, token));
                self.put(consumer, &QueueFrame::Known(token));
            }
            Ok(QueueFrame::Nacked(ids)) => ids.iter().for_each(|id| self.queue.give_back(&consumer, *id)),
            Ok(QueueFrame::Leave(token)) => {
                self.queue.leave(&consumer);
                self.put(consumer, &QueueFrame::Known(token));
            }
            Ok(QueueFrame::Inspect(after)) => self.show_dead(consumer, after),
            Ok(QueueFrame::Return(log, id)) => self.take_dead(consumer, log, id, true),
            Ok(QueueFrame::Discard(log, id)) => self.take_dead(consumer, log, id, false),
            Ok(other) => self.listener.disconnect(consumer, format_args!("a consumer that says {other:?}")),
            Err(error) => self.listener.disconnect(consumer, error),
        }
    }

    fn collect_failures(&mut self) {
        self.settled.failed.extend(self.queue.take_failures());
    }

    /// Whether it is a dead letter, in the log or with the next commit, that nobody has taken.
    fn is_dead(&self, id: u64) -> bool {
        let soon = self.settled.failed.iter().any(|failure| failure.id == id && failure.dead);
        (soon || self.log.dead(id).is_some()) && !self.settled.ids.contains(&id)
    }

    /// Answers with some of the dead letters that have higher numbers.
    fn show_dead(&mut self, whom: ConnectionId, after: u64) {
        let (log, mut bytes) = (self.log.identity, 0);
        let dead = self
            .log
            .failed
            .range(after.saturating_add(1)..)
            .filter_map(|(id, failed)| Some((*id, failed.attempts, failed.reason.clone()?)));
        for (id, attempts, reason) in dead.collect::<Vec<_>>() {
            // One that is in no commit yet, or cannot be read, is left out.
            let Ok(body) = self.log.body(id) else { continue };
            bytes += body.len() + reason.len();
            self.put(whom, &QueueFrame::Dead(PeerLetter { log, id, attempts, reason, body }));
            if bytes >= ANSWER {
                break;
            }
        }
        self.put(whom, &QueueFrame::Found(bytes > 0));
    }

    /// Takes a dead letter out of the log with the next commit, and puts it in again as a new message
    /// if it is returned.
    fn take_dead(&mut self, whom: ConnectionId, log: u64, id: u64, returned: bool) {
        let dead = log == self.log.identity && self.is_dead(id);
        match dead.then(|| self.log.body(id)) {
            Some(Ok(body)) => {
                self.settled.ids.push(id);
                self.settled.returned.push((whom, returned.then_some(body)));
            }
            _ => self.put(whom, &QueueFrame::Found(false)),
        }
    }

    /// A consumer that is silent gives back what it holds; if it lives, it has to join again.
    fn disconnect_the_silent(&mut self) {
        let Some(lease) = self.lease else { return };
        let now = Instant::now();
        let silent =
            self.alive.iter().filter(|(_, last)| **last + lease < now).map(|(consumer, _)| *consumer);
        let silent: Vec<_> = silent.collect();
        for consumer in silent {
            self.listener.disconnect(consumer, format_args!("a consumer that was silent for {lease:?}"));
        }
    }

    /// Writes messages to the log, and takes what is settled out of it.
    fn commit(&mut self, group: Vec<PendingSend>) -> impl Future<Output = Committed> + Send + use<> {
        let settled = std::mem::take(&mut self.settled);
        let new = bodies(&group, &settled).cloned().collect();
        let (ids, failed) = (settled.ids.clone(), settled.failed.clone());
        let written = self.log.commit(Changes { new, settled: ids, failed });
        async move { (group, settled, written.await) }
    }

    /// Confirms what is in the log now. A log that could not be written once
    /// takes nothing any more: then this is the end, until the next start.
    fn committed(&mut self, (group, settled, written): Committed) -> Result<()> {
        // Nobody may wait for the confirmation any more: that changes nothing.
        if let Err(error) = written {
            let refuse = |send: PendingSend| drop(send.confirm.send(Err(anyhow!("{error:#}"))));
            group.into_iter().for_each(refuse);
            return Err(error);
        }
        self.log.wrote(bodies(&group, &settled).cloned());
        for _ in bodies(&group, &settled) {
            self.queue.add();
        }
        for send in group {
            drop(send.confirm.send(Ok(())));
        }
        for (whom, _) in settled.returned {
            self.put(whom, &QueueFrame::Found(true));
        }
        for (consumer, token) in settled.answers {
            self.put(consumer, &QueueFrame::Durable(token));
        }
        Ok(())
    }

    /// Delivers what may be delivered; it is written while the listener waits.
    fn deliver(&mut self) -> Result<()> {
        // One that does not read what it was sent gets no more of it.
        while let Some(offer) = self.queue.offer_to(|consumer| !self.listener.is_busy(*consumer)) {
            let (to, body) = (offer.consumer, self.log.body(offer.id)?);
            let frame = QueueFrame::Message(offer.id, offer.attempt, body);
            if let Err(error) = self.listener.put(to, &[&frame.head(), frame.body()]) {
                // It never can be put: a failed attempt.
                self.listener.disconnect(to, error);
                continue;
            }
            let end = self.listener.accepted(to);
            let written = end.map_or(0, |end| end - self.listener.unwritten(to) as u64);
            let unsent = self.unsent.entry(to).or_default();
            while unsent.pop_front_if(|(_, end)| *end <= written).is_some() {}
            unsent.push_back((offer.id, end.unwrap_or(u64::MAX)));
        }
        Ok(())
    }

    /// Accepts a frame for a consumer. The listener says by itself when one has gone.
    fn put(&mut self, consumer: ConnectionId, frame: &QueueFrame) {
        if let Err(error) = self.listener.put(consumer, &[&frame.head(), frame.body()]) {
            self.listener.disconnect(consumer, error);
        }
    }
}

/// The new messages of a commit: what was sent, and dead letters that are sent again.
fn bodies<'a>(group: &'a [PendingSend], settled: &'a Settled) -> impl Iterator<Item = &'a Bytes> {
    let returned = settled.returned.iter().filter_map(|(_, body)| body.as_ref());
    group.iter().map(|send| &send.body).chain(returned)
}
