//! Offers the load to whatever takes messages one way: a sender, a publisher,
//! a ventilator.

use std::future::poll_fn;

use anyhow::Result;
use bytes::Bytes;
use labs::lab::Knob;

use super::context::RoleContext;
use super::error_budget::ErrorBudget;
use crate::measure::account::Counters;
use crate::measure::clock::{self, Pacer};
use crate::measure::header::MARKER;
use crate::measure::recorder::{Progress, Recording, SenderRecorder, Window};
use crate::measure::schedule::Schedule;
use crate::results::LoadKind;

pub(super) const FLUSH_EVERY: Knob =
    Knob::new("flush-every", 256, "Messages handed over before a flush, in a closed loop.");
/// How often a full window is looked at again, ns.
const LOOK: u64 = 50_000;
/// A window in which nothing moves for this long has lost its messages, where
/// the transport may lose them. ns.
const GIVE_UP: u64 = 500_000_000;
/// Most bytes in flight in a closed loop, whatever the window: a window of large
/// messages would fill a broker's memory, or its limit for one subscriber (Redis: 32 MB).
pub(crate) const WINDOW_BYTES: u64 = 16 << 20;
/// Gap between markers, ns.
const MARK: u64 = 20_000_000;

/// What takes messages one way.
pub(super) trait MessageSink {
    /// What was flushed is confirmed, and the account says so.
    const CONFIRMS: bool = false;
    async fn put(&mut self, body: Bytes) -> Result<()>;
    async fn flush(&mut self) -> Result<()>;
}

/// Offers the whole load, then says that it is done.
pub(super) async fn drive<R: Recording>(
    context: &RoleContext,
    sink: &mut impl MessageSink,
    sends: &mut SenderRecorder<R>,
    in_flight_window: InFlightWindow,
    window: Window,
) -> Result<()> {
    let pacer = Pacer::new()?;
    pacer.sleep_until(window.start).await?;
    let mut send_loop = SendLoop { sink, sends, error_budget: ErrorBudget::new(), unconfirmed: Vec::new() };
    match context.schedule()? {
        None => closed(context, &mut send_loop, in_flight_window, &pacer, window).await?,
        Some(schedule) if context.measure()?.lockstep => {
            lockstep(&mut send_loop, schedule, in_flight_window, Clock { pacer: &pacer, window }).await?;
        }
        Some(schedule) => open(&mut send_loop, schedule, &pacer, window).await?,
    }
    send_loop.flush().await?;
    sends.done();
    context.done(sends.sent());
    Ok(())
}

struct SendLoop<'a, O, R> {
    sink: &'a mut O,
    sends: &'a mut SenderRecorder<R>,
    error_budget: ErrorBudget,
    /// Sequence and time of what was accepted since the last flush, where a flush confirms.
    unconfirmed: Vec<(u64, u64)>,
}

impl<O: MessageSink, R: Recording> SendLoop<'_, O, R> {
    #[inline]
    async fn send(&mut self, scheduled: u64, now: u64) -> Result<()> {
        let (sequence, body) = self.sends.next(scheduled, now)?;
        let mut put = std::pin::pin!(self.sink.put(body));
        let mut waited = false;
        let put = poll_fn(|context| {
            let put = put.as_mut().poll(context);
            waited |= put.is_pending();
            put
        });
        let put = put.await;
        if waited {
            self.sends.refresh_clock();
        }
        match put {
            Ok(()) => {
                self.error_budget.success();
                if O::CONFIRMS {
                    self.unconfirmed.push((sequence, now));
                }
            }
            Err(error) => {
                self.sends.refuse(sequence);
                self.error_budget.failure(error)?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.sink.flush().await?;
        self.sends.refresh_clock();
        if self.unconfirmed.is_empty() {
            return Ok(());
        }
        // One look at the clock: the flush has confirmed them all at once.
        let at = clock::now();
        for (sequence, sent) in self.unconfirmed.drain(..) {
            self.sends.confirm(sequence, sent, at);
        }
        Ok(())
    }
}

/// As fast as the window allows, or until the backlog is there.
async fn closed<O: MessageSink, R: Recording>(
    context: &RoleContext,
    send_loop: &mut SendLoop<'_, O, R>,
    mut in_flight_window: InFlightWindow,
    pacer: &Pacer,
    window: Window,
) -> Result<()> {
    let batch = context.knob(FLUSH_EVERY);
    let quota = context.quota()?.unwrap_or(u64::MAX);
    let mut unflushed = 0;
    loop {
        let now = send_loop.sends.now();
        if now >= window.to || send_loop.sends.sent() >= quota {
            return Ok(());
        }
        if !in_flight_window.has(send_loop.sends.sent()) {
            send_loop.flush().await?;
            unflushed = 0;
            pacer.sleep_until(clock::now() + LOOK).await?;
            send_loop.sends.refresh_clock();
            in_flight_window.give_up_if_stuck(send_loop.sends);
            continue;
        }
        send_loop.send(now, now).await?;
        unflushed += 1;
        if unflushed >= batch {
            send_loop.flush().await?;
            unflushed = 0;
        }
    }
}

/// At the scheduled times. On each wake, all that is due is sent, then flushed.
async fn open<O: MessageSink, R: Recording>(
    send_loop: &mut SendLoop<'_, O, R>,
    schedule: Schedule,
    pacer: &Pacer,
    window: Window,
) -> Result<()> {
    let mut unflushed = false;
    for due in schedule {
        let due = window.start + due;
        if due >= window.to {
            break;
        }
        let mut now = clock::now();
        if due > now {
            if std::mem::take(&mut unflushed) {
                send_loop.flush().await?;
            }
            let late = pacer.sleep_until(due).await?;
            send_loop.sends.woke(due, late);
            now = clock::now();
        }
        send_loop.send(due, now).await?;
        unflushed = true;
    }
    Ok(())
}

/// A schedule's hours and the means to keep them.
struct Clock<'a> {
    pacer: &'a Pacer,
    window: Window,
}

/// What many load generators do, to show what it hides: each message waits
/// until the one before has been received, and what was due meanwhile is not
/// sent late but never. The time it takes counts from the send.
async fn lockstep<O: MessageSink, R: Recording>(
    send_loop: &mut SendLoop<'_, O, R>,
    schedule: Schedule,
    mut in_flight_window: InFlightWindow,
    Clock { pacer, window }: Clock<'_>,
) -> Result<()> {
    let mut schedule = schedule.map(|due| window.start + due).peekable();
    while let Some(due) = schedule.next() {
        pacer.sleep_until(due.min(window.to)).await?;
        while !in_flight_window.has(send_loop.sends.sent()) && clock::now() < window.to {
            pacer.sleep_until(clock::now() + LOOK).await?;
        }
        let now = clock::now();
        if now >= window.to {
            break;
        }
        send_loop.send(now, now).await?;
        send_loop.flush().await?;
        while schedule.next_if(|next| *next <= now).is_some() {}
    }
    Ok(())
}

/// Sends markers until the supervisor says stop: on a transport that keeps
/// order, a marker that comes through says that all before it has come.
pub(super) async fn mark<R: Recording>(
    context: &RoleContext,
    sink: &mut impl MessageSink,
    sends: &mut SenderRecorder<R>,
) -> Result<()> {
    let pacer = Pacer::new()?;
    let mut stop = std::pin::pin!(context.stop());
    loop {
        sink.put(sends.special(MARKER)).await?;
        sink.flush().await?;
        tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            slept = pacer.sleep_until(clock::now() + MARK) => drop(slept?),
        }
    }
}

/// Closes the loop: at most so many messages sent and not yet received by the
/// slowest receiver, as the receivers' accounts say.
pub(crate) struct InFlightWindow {
    limit: u64,
    producer: usize,
    receivers: Vec<Counters>,
    progress: Progress,
    /// The transport may lose messages.
    lossy: bool,
    /// Once full, this much must be free before more is sent: many messages for
    /// each wake-up, not one.
    burst: u64,
    /// Sent messages are known to fit up to here without looking again.
    known_good: u64,
    last_seen: (u64, u64),
    written_off: u64,
}

impl InFlightWindow {
    /// The room a producer has. `kind` are the receivers whose accounts count:
    /// all of them for [`Progress::Highest`], their sum for [`Progress::Count`].
    pub(crate) fn open(
        context: &RoleContext,
        receivers: &[String],
        progress: Progress,
        lossy: bool,
    ) -> Result<Self> {
        let measure = context.measure()?;
        let closed = measure.load.kind == LoadKind::Max;
        let limit = measure.window.filter(|_| closed).unwrap_or(u64::MAX);
        let limit = if measure.lockstep { context.init.senders as u64 } else { limit };
        let limit =
            if limit == u64::MAX { limit } else { limit.min(WINDOW_BYTES / measure.size.max(1) as u64) };
        let share = (limit / context.init.senders as u64).max(1);
        let receivers = receivers.iter().map(|role| Counters::open(&measure.accounts, role));
        Ok(Self {
            limit: share,
            burst: (share / 8).max(1),
            producer: context.init.index,
            receivers: receivers.collect::<Result<_>>()?,
            progress,
            lossy,
            known_good: 0,
            last_seen: (0, clock::now()),
            written_off: 0,
        })
    }

    /// Whether another message fits.
    #[inline]
    pub(crate) fn has(&mut self, sent: u64) -> bool {
        if sent < self.known_good {
            return true;
        }
        let fits = (self.received() + self.written_off).saturating_add(self.limit);
        if fits < sent.saturating_add(self.burst) {
            return false;
        }
        self.known_good = fits;
        true
    }

    fn received(&self) -> u64 {
        let each = self.receivers.iter().map(|counters| counters.progress(self.producer));
        match self.progress {
            Progress::Highest => each.min().unwrap_or(u64::MAX),
            Progress::Count => each.sum(),
        }
    }

    /// Where messages may be lost, a window in which nothing moves is empty.
    fn give_up_if_stuck<R: Recording>(&mut self, sends: &mut SenderRecorder<R>) {
        let (received, now) = (self.received(), clock::now());
        if received != self.last_seen.0 {
            self.last_seen = (received, now);
        } else if self.lossy && now - self.last_seen.1 > GIVE_UP {
            self.written_off = sends.sent().saturating_sub(received);
            self.last_seen.1 = now;
            self.known_good = 0;
            sends.reset_window();
        }
    }
}
