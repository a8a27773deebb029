//! The producer's side: each message is committed to the log, confirmed, delivered to
//! a consumer that is connected, and taken out of the log when it is acked.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use super::log::Log;
use crate::lab::Place;
use crate::wire::frames::{FrameEvent, FrameListener};
use crate::wire::peer_queue::{MAX_HELD, PendingSend, PendingSends, QueueFrame, QueueState, heartbeat};
use crate::wire::sockets::{Bound, ConnectionId};

/// Messages in one commit, at most.
const GROUP: usize = 512;
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
    /// What the next commit takes out of the log, and who is told of it then.
    settled: Settled,
}

#[derive(Default)]
struct Settled {
    ids: Vec<u64>,
    /// Consumers that hear `Durable` with their token.
    answers: Vec<(ConnectionId, u64)>,
}

/// A commit that has ended: what was in it, and what came of it.
type Committed = (Vec<PendingSend>, Settled, Result<()>);

impl Outbox {
    /// Opens the role's log, and listens for consumers. One that is silent for the time of a lease
    /// is taken to be gone.
    pub(super) async fn open(place: &Place, fsync: bool, lease: Option<Duration>) -> Result<Self> {
        let (log, left) = Log::open(place, fsync)?;
        let queue = QueueState::new(log.next, left);
        let listener = FrameListener::new(Bound::tcp(place).await?);
        Ok(Self { listener, log, queue, alive: HashMap::new(), lease, settled: Settled::default() })
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
                _ = late.tick(), if !self.settled.ids.is_empty() && commit.is_empty() => due = true,
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
            if commit.is_empty() {
                while group.len() < GROUP
                    && let Ok(send) = sends.try_recv()
                {
                    group.push(send);
                }
                due |= closing || self.settled.ids.len() >= GROUP;
                if !group.is_empty() || (due && !self.settled.ids.is_empty()) {
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
            FrameEvent::Closed(consumer) => {
                self.alive.remove(&consumer);
                return self.queue.leave(&consumer);
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
                self.settled.ids.extend(ids.into_iter().filter(|id| self.queue.settle(*id)));
                self.settled.answers.push((consumer, token));
                self.put(consumer, &QueueFrame::Known(token));
            }
            Ok(QueueFrame::Nacked(ids)) => ids.iter().for_each(|id| self.queue.give_back(&consumer, *id)),
            Ok(QueueFrame::Leave(token)) => {
                self.queue.leave(&consumer);
                self.put(consumer, &QueueFrame::Known(token));
            }
            Ok(other) => self.listener.disconnect(consumer, format_args!("a consumer that says {other:?}")),
            Err(error) => self.listener.disconnect(consumer, error),
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
        let bodies = group.iter().map(|send| send.body.clone()).collect();
        let written = self.log.commit(bodies, settled.ids.clone());
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
        self.log.wrote(group.iter().map(|send| send.body.clone()));
        for send in group {
            self.queue.add();
            drop(send.confirm.send(Ok(())));
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
            let body = self.log.body(offer.id)?;
            self.put(offer.consumer, &QueueFrame::Message(offer.id, offer.attempt, body));
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
