//! The two roles of every baseline, sender and receiver.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use labs::lab::Registry;
use tokio::sync::mpsc;

use super::frame::{self, Frame, Scanner};
use super::list::{BASELINES, Baseline};
use super::redis::Replies;
use super::socket::{Socket, Source};
use crate::measure::account::{Counter, Counters};
use crate::measure::clock::{self, Pacer};
use crate::measure::recorder::{INTERVAL, Progress, Window};
use crate::measure::schedule::Schedule;
use crate::results::{Interval, LoadKind};
use crate::roles::context::RoleContext;
use crate::roles::enter::start_role;
use crate::roles::handle::Outbox;
use crate::roles::in_flight_window::InFlightWindow;
use crate::roles::protocol::{Init, Kind, ToRole};
use crate::roles::reqrep::IN_FLIGHT;
use crate::roles::send_loop::FLUSH_EVERY;
use crate::stats;

/// Most bytes in one write, in a closed loop: messages are written as many at a
/// time as a lab's are flushed, unless they are large.
const WRITE: usize = 1 << 20;
/// How long a sender with enough requests in flight waits before it looks again, ns.
const ANSWER_PAUSE: u64 = 50_000;
/// How often a reader that receives nothing checks whether the trial is over.
const TURN: Duration = Duration::from_millis(50);

pub(super) fn run(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
) -> Result<()> {
    start_role(init, inbox, outbox, registry, play)
}

async fn play(context: RoleContext) -> Result<()> {
    let baseline = BASELINES
        .iter()
        .find(|baseline| baseline.name() == context.init.lab)
        .context("there is no such baseline")?;
    match context.init.kind {
        Kind::Sender | Kind::Requester => send(&context, baseline).await,
        _ => receive(&context, baseline).await,
    }
}

async fn send(context: &RoleContext, baseline: &Baseline) -> Result<()> {
    let peer = if baseline.broker.is_none() { Some(context.place.peer().await?) } else { None };
    let measure = context.measure()?;
    let body = frame::body(measure.size);
    let mut socket = (baseline.wire.connect)(&context.place, peer.as_deref())?;
    let frame = (baseline.wire.frame)(&context.place, &body);
    let reader = match baseline.wire.answer {
        Some(_) => Some(Reader::open(context, baseline, Source::Open(socket.try_clone()?))?),
        None => None,
    };
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    if let Some(reader) = &reader {
        reader.begin(window);
    }
    let mut mouth = Mouth {
        socket: &mut socket,
        frame,
        sent: 0,
        counters: Counters::open(&measure.accounts, &context.init.role())?,
        lag: stats::new_histogram(),
        pacer: stats::new_histogram(),
    };
    let pacer = Pacer::new()?;
    pacer.sleep_until(window.start).await?;
    match context.schedule(0)? {
        Some(schedule) => mouth.open(schedule, &pacer, window).await?,
        None => mouth.closed(context, baseline.answered(), &pacer, window).await?,
    }
    mouth.counters.set(Counter::Done, 1);
    context.done(mouth.sent);
    context.stop().await;
    let tally = reader.map(Reader::end).transpose()?;
    context
        .tell(meter, |report| {
            report.lag = stats::encode(&mouth.lag)?;
            report.pacer = stats::encode(&mouth.pacer)?;
            tally.map_or(Ok(()), |tally| tally.into_report(report))
        })
        .await
}

/// What sends.
struct Mouth<'a> {
    socket: &'a mut Socket,
    frame: Frame,
    sent: u64,
    counters: Counters,
    lag: Histogram<u64>,
    pacer: Histogram<u64>,
}

impl Mouth<'_> {
    fn count(&mut self, more: u64) {
        self.sent += more;
        self.counters.set(Counter::Sent, self.sent);
    }

    /// As fast as the window allows, many messages a write.
    async fn closed(
        &mut self,
        context: &RoleContext,
        answered: bool,
        pacer: &Pacer,
        window: Window,
    ) -> Result<()> {
        let mut in_flight_window =
            InFlightWindow::open(context, &["receiver-0".to_owned()], Progress::Highest, false)?;
        let batch = if answered { IN_FLIGHT.default / 4 } else { context.knob(FLUSH_EVERY) };
        let count = (WRITE / self.frame.len()).clamp(1, batch.max(1));
        let block = self.frame.repeated(count);
        loop {
            let now = clock::now();
            if now >= window.to {
                return Ok(());
            }
            let fits = if answered {
                let in_flight = self.sent - self.counters.get(Counter::Received);
                in_flight + count as u64 <= IN_FLIGHT.default as u64
            } else {
                in_flight_window.has(self.sent)
            };
            if !fits {
                let look = if answered { now + ANSWER_PAUSE } else { in_flight_window.next_look() };
                pacer.sleep_until(look.min(window.to)).await?;
                continue;
            }
            self.count(count as u64);
            self.socket.write_all(&block).context("the baseline cannot write")?;
            // The meter has its turn as well.
            tokio::task::yield_now().await;
        }
    }

    /// At the scheduled times, each message with the time it was due.
    async fn open(&mut self, schedule: Schedule, pacer: &Pacer, window: Window) -> Result<()> {
        for due in schedule {
            let due = window.start + due;
            if due >= window.to {
                break;
            }
            let late = pacer.sleep_until(due).await?;
            if window.holds(due) {
                late.into_iter().for_each(|late| self.pacer.saturating_record(late));
                self.lag.saturating_record(clock::now().saturating_sub(due));
            }
            self.count(1);
            self.socket.write_all(self.frame.due(due)).context("the baseline cannot write")?;
        }
        Ok(())
    }
}

async fn receive(context: &RoleContext, baseline: &Baseline) -> Result<()> {
    let reader = Reader::open(context, baseline, (baseline.wire.receive)(&context.place)?)?;
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    reader.begin(window);
    context.stop().await;
    let tally = reader.end()?;
    context.tell(meter, |report| if baseline.answered() { Ok(()) } else { tally.into_report(report) }).await
}

/// A thread that reads, and counts.
struct Reader {
    window: Arc<OnceLock<Window>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

impl Reader {
    fn open(context: &RoleContext, baseline: &Baseline, source: Source) -> Result<Self> {
        let measure = context.measure()?;
        let (window, stop) = (Arc::<OnceLock<Window>>::default(), Arc::<AtomicBool>::default());
        let max = measure.load.kind == LoadKind::Max;
        let body = frame::body(measure.size);
        let hears = !baseline.answered() || context.init.kind == Kind::Requester;
        // With even frames and no times to look at, counting bytes is enough.
        let even = baseline.wire.even && max && !baseline.answered();
        let even = even.then(|| (baseline.wire.frame)(&context.place, &body).len());
        let counters = Counters::open(&measure.accounts, &context.init.role())?;
        let listening = Listening {
            window: Arc::clone(&window),
            stop: Arc::clone(&stop),
            scanner: Scanner::new(even),
            answer: baseline.wire.answer.filter(|_| !hears).map(|answer| answer(&body)),
            counters,
        };
        let thread =
            std::thread::Builder::new().name("reader".to_owned()).spawn(move || listening.listen(source))?;
        Ok(Self { window, stop, thread })
    }

    fn begin(&self, window: Window) {
        // Set once, by the one who knows.
        let _ = self.window.set(window);
    }

    fn end(self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(tally) => tally,
            Err(_) => bail!("the reading thread has panicked; its message is on stderr"),
        }
    }
}

/// The received messages.
struct Tally {
    measured: u64,
    response: Histogram<u64>,
    series: Vec<Interval>,
}

impl Tally {
    fn into_report(self, report: &mut crate::roles::protocol::Report) -> Result<()> {
        report.measured = self.measured;
        report.response = stats::encode(&self.response)?;
        report.series = self.series;
        Ok(())
    }
}

struct Listening {
    window: Arc<OnceLock<Window>>,
    stop: Arc<AtomicBool>,
    scanner: Scanner,
    answer: Option<Frame>,
    counters: Counters,
}

impl Listening {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn listen(mut self, source: Source) -> Result<Tally> {
        let mut tally = Tally { measured: 0, response: stats::new_histogram(), series: Vec::new() };
        let (mut socket, mut asking) = match source {
            Source::Open(socket) => (socket, None),
            Source::Asking(socket, question) => (socket, Some((question, Replies::default()))),
            Source::Listening(listener, greet) => loop {
                if let Some(mut socket) = listener.accept()? {
                    greet(&mut socket)?;
                    break (socket, None);
                }
                if self.over() {
                    return Ok(tally);
                }
                std::thread::sleep(Duration::from_millis(1));
            },
        };
        if let Some((question, _)) = &asking {
            socket.write_all(question)?;
        }
        socket.set_patience(TURN)?;
        let (mut received, mut out) = (0, Vec::new());
        loop {
            match self.scanner.read(&mut socket) {
                Ok(None) => return Ok(tally),
                Ok(Some(data)) => {
                    if let Some((question, replies)) = &mut asking {
                        for _ in 0..replies.feed(data) {
                            socket.write_all(question)?;
                        }
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if self.over() {
                        return Ok(tally);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(tally),
                Err(error) => return Err(error).context("the baseline cannot read"),
            }
            let now = clock::now();
            let window = self.window.get().copied().unwrap_or(Window { start: 0, from: 0, to: 0 });
            let (mut sum, mut max) = (0, 0);
            let count = self.scanner.take(|due| {
                if let Some(answer) = &mut self.answer {
                    out.extend_from_slice(answer.due(due));
                } else if window.holds(due) {
                    let response = now.saturating_sub(due);
                    tally.response.saturating_record(response);
                    (sum, max) = (sum + response, response.max(max));
                }
            });
            socket.write_all(&out).or_else(|error| match error.kind() {
                // The requester has ended.
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
                _ => Err(error),
            })?;
            out.clear();
            received += count;
            self.counters.set(Counter::Received, received);
            self.counters.set_progress(0, received);
            if window.holds(now) {
                tally.measured += count;
            }
            if let Some(since) = now.checked_sub(window.start).filter(|_| window.start > 0) {
                let at = (since / INTERVAL) as usize;
                tally.series.resize(tally.series.len().max(at + 1), Interval::default());
                let interval = &mut tally.series[at];
                interval.received += count;
                interval.sum_ns += sum;
                interval.max_ns = interval.max_ns.max(max);
            }
        }
    }
}
