//! Offers the load to whatever takes messages one way: a sender, a publisher,
//! a ventilator.

use std::future::poll_fn;

use anyhow::Result;
use bytes::Bytes;
use labs::lab::Knob;

use super::context::RoleContext;
use super::error_budget::ErrorBudget;
use super::in_flight_window::InFlightWindow;
use crate::measure::clock::{self, Pacer};
use crate::measure::header::MARKER;
use crate::measure::recorder::{Recording, SenderRecorder, Window};
use crate::measure::schedule::Schedule;

pub(super) const FLUSH_EVERY: Knob =
    Knob::new("flush-every", 256, "Messages handed over before a flush, in a closed loop.");
/// Gap between markers, ns.
const MARK: u64 = 20_000_000;

/// What takes messages one way.
pub(super) trait MessageSink {
    /// What was flushed is confirmed, and the account says so.
    #[inline]
    fn confirms(&self) -> bool {
        false
    }
    async fn put(&mut self, body: Bytes) -> Result<()>;
    async fn flush(&mut self) -> Result<()>;
}

/// Offers the whole load, then says that it is done.
pub(super) async fn drive<R: Recording>(
    context: &RoleContext,
    sink: &mut impl MessageSink,
    sends: &mut SenderRecorder<R>,
    in_flight_window: &mut InFlightWindow,
    window: Window,
) -> Result<()> {
    let pacer = Pacer::new()?;
    in_flight_window.calibrate(&pacer).await?;
    pacer.sleep_until(window.start).await?;
    let schedule = context.schedule(sends.sent())?;
    let confirms = sink.confirms();
    let mut send_loop =
        SendLoop { sink, confirms, sends, error_budget: ErrorBudget::new(), unconfirmed: Vec::new() };
    match schedule {
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
    confirms: bool,
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
                if self.confirms {
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
    in_flight_window: &mut InFlightWindow,
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
            pacer.sleep_until(in_flight_window.next_look().min(window.to)).await?;
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
    in_flight_window: &mut InFlightWindow,
    Clock { pacer, window }: Clock<'_>,
) -> Result<()> {
    let mut schedule = schedule.map(|due| window.start + due).peekable();
    while let Some(due) = schedule.next() {
        pacer.sleep_until(due.min(window.to)).await?;
        while !in_flight_window.has(send_loop.sends.sent()) && clock::now() < window.to {
            pacer.sleep_until(in_flight_window.next_look().min(window.to)).await?;
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
