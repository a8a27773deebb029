//! The simulated transport: it applies the faults of a check to messages, and logs what
//! it did to each. The simulated labs are built from its two ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use labs::lab::Knob;
use tokio::sync::oneshot;

use super::event_log::{Confirmed, Entered, EventLog, Left, State};
use super::fault::{Faults, Harm, Id, lot};
use super::wire::{Parcel, Wire};
use crate::hint;
use crate::measure::account::MAX_MESSAGES;
use crate::measure::clock::{self, Pacer};
use crate::measure::header::Header;

/// The knob that tells a lab which simulated transport is its own. Handles are plain function
/// pointers, so nothing else can be handed over.
pub(super) const KNOB: Knob = Knob::new("selftest-rig", 0, "Number of the simulated transport's script.");

static TRANSPORTS: Mutex<BTreeMap<usize, Arc<SimulatedTransport>>> = Mutex::new(BTreeMap::new());

/// The shared state of the ends of one trial.
pub(super) struct SimulatedTransport {
    pub(super) faults: Faults,
    seed: u64,
    pub(super) event_log: EventLog,
    /// When the first message was due, ns: the time that pauses count from.
    began: OnceLock<u64>,
    /// The wires that lead to receivers, in the order in which these came.
    wires: Mutex<Vec<Arc<Wire>>>,
}

/// A simulated transport that labs can find as long as this value lives.
pub(super) struct Registered {
    pub(super) number: usize,
    pub(super) transport: Arc<SimulatedTransport>,
}

impl Registered {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        let (event_log, began, wires) = (EventLog::default(), OnceLock::new(), Mutex::default());
        let transport = Arc::new(SimulatedTransport { faults, seed, event_log, began, wires });
        let mut rigs = TRANSPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        let number = rigs.last_key_value().map_or(1, |(last, _)| last + 1);
        rigs.insert(number, Arc::clone(&transport));
        Self { number, transport }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        TRANSPORTS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl SimulatedTransport {
    pub(super) fn find(number: usize) -> Result<Arc<Self>> {
        let rigs = TRANSPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        rigs.get(&number).cloned().with_context(|| {
            format!(
                "there is no simulated transport {number}; only `{}` creates them",
                hint::command(&["selftest"])
            )
        })
    }

    /// A wire to one more receiver.
    pub(super) fn another_wire(&self) -> (usize, Arc<Wire>) {
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        wires.push(Arc::default());
        (wires.len() - 1, Arc::clone(&wires[wires.len() - 1]))
    }

    /// The wires to all receivers there are.
    pub(super) fn wires(&self) -> Vec<Arc<Wire>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The faults of a message on its way to a receiver.
    pub(super) fn harm(&self, id: Id, receiver: usize) -> Option<Harm> {
        self.faults.harm(self.seed, id, receiver)
    }

    fn confirm(&self, id: Id) {
        self.event_log.confirm(Confirmed { id, at: clock::now() });
    }
}

/// Where messages come in.
pub(super) struct Entrance {
    pub(super) transport: Arc<SimulatedTransport>,
    wires: Vec<Arc<Wire>>,
    pacer: Pacer,
    held: Mutex<Vec<Held>>,
}

/// A parcel that is being overtaken.
struct Held {
    parcel: Parcel,
    wire: usize,
    /// The number of further messages that overtake it.
    left: usize,
}

/// The fate of a message that was not refused.
pub(super) struct Accepted {
    id: Id,
    /// Nobody will ever confirm it.
    pub(super) swallowed: bool,
}

impl Entrance {
    pub(super) fn to(transport: Arc<SimulatedTransport>, wires: Vec<Arc<Wire>>) -> Result<Self> {
        Ok(Self { transport, wires, pacer: Pacer::new()?, held: Mutex::default() })
    }

    /// Accepts a message, applies its faults, and puts it on the wires. `None` for probes and
    /// markers.
    pub(super) async fn put(
        &self,
        body: Bytes,
        mut answer: Option<oneshot::Sender<(Bytes, State)>>,
    ) -> Result<Option<Accepted>> {
        let at = clock::now();
        tokio::task::coop::consume_budget().await;
        let header = Header::read(&body).context("the harness sent a message without a valid header")?;
        if header.sequence >= MAX_MESSAGES {
            self.let_go(usize::MAX);
            for wire in &self.wires {
                wire.push_last(Parcel::new(body.clone(), None));
            }
            return Ok(None);
        }
        let id = Id { producer: header.producer, sequence: header.sequence };
        let faults = &self.transport.faults;
        let began = *self.transport.began.get_or_init(|| header.scheduled);
        let alone = (self.wires.len() == 1).then(|| self.transport.harm(id, 0)).flatten();
        self.transport.event_log.enter(Entered {
            id,
            at,
            due: header.scheduled,
            refused: alone == Some(Harm::Refused),
        });
        if alone == Some(Harm::Refused) {
            self.transport.event_log.harm(Harm::Refused);
            bail!("refused on purpose by the self-test");
        }
        let shift = faults.shift(id);
        let body = if shift == 0 { body } else { restamped(&body, header, shift) };
        for number in 0..self.wires.len() {
            let harm = self.transport.harm(id, number);
            let parcel = Parcel { shift, answer: answer.take(), ..Parcel::new(body.clone(), Some(id)) };
            let release = self.release(at, began, harm);
            self.pass_on(number, parcel, harm, release);
        }
        self.let_go(1);
        let over = faults.block.map(|block| (began + block.at_ns, began + block.at_ns + block.for_ns));
        if let Some((_, end)) = over.filter(|(start, end)| (*start..*end).contains(&at)) {
            self.pacer.sleep_until(end).await?;
        }
        Ok(Some(Accepted { id, swallowed: alone == Some(Harm::Swallowed) }))
    }

    /// Passes on what came in before: the second leg of a pipeline.
    pub(super) fn relay(&self, body: &Bytes) {
        let id = Header::read(body).map(|header| Id { producer: header.producer, sequence: header.sequence });
        for wire in &self.wires {
            wire.push(Parcel::new(body.clone(), id), 0, None);
        }
    }

    /// Confirms an accepted message, after the delay of the check.
    pub(super) async fn confirm(&self, accepted: &Accepted) -> Result<()> {
        if self.transport.faults.confirm_ns > 0 {
            // A timer of its own: many confirmations are awaited at once.
            Pacer::new()?.sleep_until(clock::now() + self.transport.faults.confirm_ns).await?;
        }
        self.transport.confirm(accepted.id);
        Ok(())
    }

    /// When a message that came in at `at` may leave.
    fn release(&self, at: u64, began: u64, harm: Option<Harm>) -> u64 {
        let faults = &self.transport.faults;
        let slow = if harm == Some(Harm::Slow) { faults.slow_ns } else { 0 };
        let free = at + faults.delay_ns + slow;
        match faults.stall {
            Some(stall) if (began + stall.at_ns..began + stall.at_ns + stall.for_ns).contains(&at) => {
                free.max(began + stall.at_ns + stall.for_ns)
            }
            _ => free,
        }
    }

    /// Puts a parcel on a wire, harmed.
    fn pass_on(&self, number: usize, mut parcel: Parcel, harm: Option<Harm>, release: u64) {
        let (faults, wire) = (&self.transport.faults, &self.wires[number]);
        // A wrong answer is noted by the one who gives it.
        if let Some(harm) = harm.filter(|harm| *harm != Harm::Misanswered) {
            self.transport.event_log.harm(harm);
        }
        match harm {
            Some(Harm::Dropped | Harm::Swallowed | Harm::Refused) => return,
            Some(Harm::Late) => {
                let left = faults.overtaken_by + 1;
                self.held().push(Held { parcel, wire: number, left });
                return;
            }
            Some(Harm::Damaged) => {
                parcel.body = damaged(&parcel.body, parcel.id, self.transport.seed);
                parcel.state = State::Damaged;
            }
            Some(Harm::Marked) => parcel.attempt = 2,
            Some(Harm::Strayed) => {
                let stray = stranger(&parcel.body);
                let stray = Parcel { state: State::Stray, ..Parcel::new(stray, parcel.id) };
                wire.push(stray, release, faults.gap_ns);
            }
            Some(Harm::Repeated | Harm::RepeatedMarked) => {
                let attempt = if harm == Some(Harm::Repeated) { 1 } else { 2 };
                let again =
                    Parcel { attempt, shift: parcel.shift, ..Parcel::new(parcel.body.clone(), parcel.id) };
                wire.push(parcel, release, faults.gap_ns);
                wire.push(again, release, faults.gap_ns);
                return;
            }
            Some(Harm::Misanswered | Harm::Slow) | None => {}
        }
        wire.push(parcel, release, faults.gap_ns);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `by` more have overtaken those that are held; whose turn it is, goes.
    fn let_go(&self, by: usize) {
        let mut held = self.held();
        for mut late in std::mem::take(&mut *held) {
            late.left = late.left.saturating_sub(by);
            match late.left {
                0 => self.wires[late.wire].push_last(late.parcel),
                _ => held.push(late),
            }
        }
    }
}

/// The message with the header that a clock with an error of `shift` ns would write.
fn restamped(body: &Bytes, header: Header, shift: i64) -> Bytes {
    let mut body = body.to_vec();
    let scheduled = header.scheduled.saturating_add_signed(shift);
    Header { scheduled, ..header }.write(&mut body);
    body.into()
}

/// The message with one bit flipped, drawn by lot.
fn damaged(body: &Bytes, id: Option<Id>, seed: u64) -> Bytes {
    let mut body = body.to_vec();
    let bit = id.map_or(0, |id| lot(seed, id, 0xb17)) as usize % (body.len() * 8);
    body[bit / 8] ^= 1 << (bit % 8);
    body.into()
}

/// The same message of another run: whole, and in the wrong place.
fn stranger(body: &Bytes) -> Bytes {
    let Some(header) = Header::read(body) else { return body.clone() };
    let mut body = body.to_vec();
    Header { run: header.run.wrapping_add(1), ..header }.write(&mut body);
    body.into()
}

/// Where messages go out.
pub(super) struct Exit {
    pub(super) transport: Arc<SimulatedTransport>,
    wire: Arc<Wire>,
    pacer: Pacer,
    /// Which receiver this is.
    number: usize,
}

impl Exit {
    pub(super) fn of(transport: Arc<SimulatedTransport>, wire: Arc<Wire>, number: usize) -> Result<Self> {
        Ok(Self { transport, wire, pacer: Pacer::new()?, number })
    }

    /// The next parcel; of which it is noted that it was handed over. Cancel-safe.
    pub(super) async fn take(&self) -> Result<Parcel> {
        let (parcel, at) = self.wire.take(&self.pacer).await?;
        if let Some(id) = parcel.id {
            let Parcel { attempt, state, shift, .. } = parcel;
            self.transport.event_log.leave(Left { id, to: self.number, at, attempt, state, shift });
        }
        Ok(parcel)
    }

    /// The next parcel on its way to somebody else: nothing is noted.
    pub(super) async fn pass(&self) -> Result<Parcel> {
        Ok(self.wire.take(&self.pacer).await?.0)
    }
}
