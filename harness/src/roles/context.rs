//! The context of a measured role: its instructions, its account, and its line to the
//! supervisor.

use std::time::Duration;

use anyhow::{Context as _, Result};
use labs::lab::{Knob, Place};
use tokio::sync::{mpsc, watch};

use super::handle::Outbox;
use super::protocol::{Event, FromRole, Init, Kind, Measure, Report, RoleCommand};
use crate::measure::account::Collected;
use crate::measure::clock::{self, Pacer};
use crate::measure::cost::{Own, Usage};
use crate::measure::recorder::{INTERVAL, Progress, ReceiverRecorder, Recording, SenderRecorder, Window};
use crate::measure::schedule::{Schedule, Share};
use crate::results::{Interval, LoadKind};
use crate::stats;

/// The time that a role has to end after `stop`, ns.
pub const LEAVE: u64 = 5 * clock::SECOND;

/// Between two looks for peers, where all have left.
const NEWCOMERS: Duration = Duration::from_millis(5);

/// The context of a running role.
pub(super) struct RoleContext {
    pub(super) init: Init,
    pub(super) place: Place,
    pub(super) outbox: Outbox,
    pub(super) started: watch::Receiver<Option<u64>>,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) acts: mpsc::UnboundedReceiver<RoleCommand>,
}

impl RoleContext {
    pub(super) fn measure(&self) -> Result<&Measure> {
        self.init.measure.as_ref().context("this role got no instructions what to measure")
    }

    /// The value of a knob of the harness itself, at least 1; recorded with those of the labs.
    pub(super) fn knob(&self, knob: Knob) -> usize {
        self.place.knob(knob).max(1)
    }

    /// Tells that the role has joined.
    pub(super) fn ready(&self) {
        (self.outbox)(FromRole::Ready);
    }

    /// The common start. Call [`RoleContext::ready`] first.
    pub(super) async fn go(&self) -> Result<Window> {
        let measure = self.measure()?;
        let mut started = self.started.clone();
        let start = started.wait_for(Option::is_some).await.context("the supervisor has ended")?;
        let start = start.unwrap_or_default();
        if measure.load.kind == LoadKind::Drain {
            // A backlog takes as long as it takes, and all of it counts.
            return Ok(Window { start, from: start, to: u64::MAX });
        }
        let from = start + measure.warmup_ns;
        Ok(Window { start, from, to: from + measure.measure_ns })
    }

    /// Whether a backlog is to be queued up before anything is received.
    pub(super) fn is_backlog(&self) -> Result<bool> {
        Ok(self.measure()?.load.kind == LoadKind::Drain)
    }

    /// Returns when the backlog is there, and is to be drained.
    pub(super) async fn backlog(&self) -> Result<()> {
        let mut draining = self.draining.clone();
        draining.wait_for(|drain| *drain).await.context("the supervisor has ended")?;
        Ok(())
    }

    /// How many messages this sender has to send, where the load says it: its
    /// share of a backlog.
    pub(super) fn quota(&self) -> Result<Option<u64>> {
        let (senders, index) = (self.init.senders as u64, self.init.index as u64);
        let share = |all: u64| all / senders + u64::from(index < all % senders);
        Ok(self.measure()?.load.messages.filter(|_| self.is_backlog().is_ok_and(|yes| yes)).map(share))
    }

    /// When this sender's messages are due behind the first `sent`, at a rate; `None` for other
    /// loads. One that is started again is late with what was due meanwhile.
    pub(super) fn schedule(&self, sent: u64) -> Result<Option<Schedule>> {
        let measure = self.measure()?;
        let share = Share {
            seed: measure.seed,
            index: self.init.index,
            senders: self.init.senders,
            length_ns: measure.warmup_ns + measure.measure_ns,
        };
        let mut schedule = Schedule::new(&measure.load, share);
        if let Some(schedule) = &mut schedule {
            for _ in 0..sent {
                let _ = schedule.next();
            }
        }
        Ok(schedule)
    }

    /// How many messages were due in each interval: the schedule says it again,
    /// so that nothing has to be counted while messages move.
    pub(super) fn offered(&self) -> Result<Vec<Interval>> {
        let measure = self.measure()?;
        let length = measure.warmup_ns + measure.measure_ns;
        let mut series = Vec::new();
        for due in self.schedule(0)?.into_iter().flatten().take_while(|due| *due < length) {
            let at = (due / INTERVAL) as usize;
            series.resize(series.len().max(at + 1), Interval::default());
            series[at].offered += 1;
        }
        Ok(series)
    }

    /// Returns when the supervisor says stop.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the supervisor has ended, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    }

    /// All peers have left: waits a moment, then others may have come. `false`: the supervisor
    /// says stop.
    pub(super) async fn await_newcomers(stop: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        tokio::select! {
            biased;
            () = stop => false,
            () = tokio::time::sleep(NEWCOMERS) => true,
        }
    }

    pub(super) fn event(&self, event: Event) {
        (self.outbox)(FromRole::Event(event));
    }

    pub(super) fn sender_recorder<R: Recording>(&self, window: Window) -> Result<SenderRecorder<R>> {
        let measure = self.measure()?;
        let (role, index) = (self.init.role(), self.init.index);
        let mut sends =
            SenderRecorder::open(&measure.accounts, &role, self.init.run, index, measure.size, window)?;
        if measure.record {
            sends.keep(&measure.accounts, &role)?;
        } else if !measure.load.is_open() {
            sends.use_cached_clock();
        }
        Ok(sends)
    }

    pub(super) fn receiver_recorder<R: Recording>(
        &self,
        progress: Progress,
        window: Window,
    ) -> Result<ReceiverRecorder<R>> {
        let measure = self.measure()?;
        let latencies = measure.load.is_open();
        let (role, producers) = (self.init.role(), 0..self.init.senders);
        let run = self.init.run;
        let mut receipts =
            ReceiverRecorder::open(&measure.accounts, &role, run, producers, progress, latencies, window)?;
        if latencies && R::ACCOUNTS && self.init.kind == Kind::Sink {
            receipts.keep_times(Collected::open(&measure.accounts, &role, self.init.senders)?);
        }
        if measure.record {
            receipts.keep(&measure.accounts, &role)?;
        } else if !latencies {
            receipts.use_cached_clock();
        }
        Ok(receipts)
    }

    /// Reads the cost of the measured window, beside the role.
    pub(super) fn meter(&self, window: Window) -> Result<Meter> {
        let threads = self.measure()?.threads;
        let pacer = Pacer::new()?;
        let stop = self.stop();
        let usage = tokio::spawn(async move {
            pacer.sleep_until(window.from).await?;
            let own = Own::begin(threads)?;
            tokio::select! {
                slept = pacer.sleep_until(window.to) => drop(slept?),
                // A backlog's window has no end of its own.
                () = stop, if window.to == u64::MAX => {}
            }
            own.end()
        });
        Ok(Meter { usage })
    }

    pub(super) fn done(&self, sent: u64) {
        (self.outbox)(FromRole::Done { sent });
    }

    /// The role's last line. With what was sent comes the CPU time that waiting for room
    /// in the window took, ns.
    pub(super) async fn report<R: Recording>(
        &self,
        sends: Option<(SenderRecorder<R>, u64)>,
        receipts: Option<ReceiverRecorder<R>>,
        meter: Meter,
    ) -> Result<()> {
        let offered = if sends.is_some() { self.offered()? } else { Vec::new() };
        let fill = |report: &mut Report| {
            if let Some((sends, window_cpu_ns)) = sends {
                report.window_cpu_ns = window_cpu_ns;
                report.lag = stats::encode(&sends.lag)?;
                report.pacer = stats::encode(&sends.pacer)?;
                report.confirm = stats::encode(&sends.confirm)?;
                report.span = sends.span;
            }
            if let Some(receipts) = receipts {
                report.measured = receipts.measured;
                report.response = stats::encode(&receipts.response)?;
                report.service = stats::encode(&receipts.service)?;
                report.span = Some(receipts.span());
                report.series = receipts.series;
            }
            report.series.resize(report.series.len().max(offered.len()), Interval::default());
            for (interval, due) in report.series.iter_mut().zip(&offered) {
                interval.offered = due.offered;
            }
            Ok(())
        };
        self.tell(meter, fill).await
    }

    /// The last line of a role that fills in its own measurements.
    pub(super) async fn tell(
        &self,
        meter: Meter,
        fill: impl FnOnce(&mut Report) -> Result<()>,
    ) -> Result<()> {
        let usage = meter.usage.await.context("the thread that counts costs has ended")??;
        let mut report = Report { usage, knobs: self.place.knobs_read(), ..Report::default() };
        fill(&mut report)?;
        (self.outbox)(FromRole::Report(Box::new(report)));
        Ok(())
    }
}

pub(super) struct Meter {
    usage: tokio::task::JoinHandle<Result<Usage>>,
}
