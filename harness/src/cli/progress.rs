//! Progress display of a run. On a terminal: a few live lines at the bottom, finished
//! trials above. Otherwise: a plain line per trial.

mod view;

use std::path::Path;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use labs::lab::Broker;

use crate::command::{human, live_terminal, thousands};
use crate::results::{BenchmarkCase, Counts, LoadKind, Skipped};
use crate::trial::Watch;
use crate::{report, runner};
use view::{Pace, fit, lines};

/// The maximum number of redraws a second: the display must not take CPU from the measurement.
const REDRAWS: u8 = 10;
/// Assumed seconds per trial besides its load, until one has been measured.
const OVERHEAD: f64 = 0.7;
/// Columns where the terminal does not say how many it has.
const COLUMNS: usize = 80;
/// Columns of the bar, the counts behind it and the gaps.
const BAR: usize = 36;

/// Writes to stderr, so that stdout stays for results.
pub(super) struct Live {
    bar: ProgressBar,
    terminal: bool,
    pace: Pace,
    /// Seconds that were left, and when that was said.
    left: Option<(f64, Instant)>,
    /// The trial after this one.
    then: String,
}

impl Live {
    pub(super) fn new() -> Self {
        let terminal = live_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr_with_hz(REDRAWS) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // The first line is empty, and may stay behind: the `^C` that a terminal writes when it is
        // pressed moves the cursor down by one, and nobody is told.
        let template = "\n{prefix:.bold}\n{bar:20.cyan} {pos:>4}/{len}  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, terminal, pace: Pace::default(), left: None, then: String::new() }
    }

    fn say(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { errln!("{line}") }
    }

    /// Shows the line of the bar, and the state of the trial below it.
    fn show(&self, left_s: f64, below: &str) {
        let left = format!("{} left{}", human(left_s), self.then);
        self.bar.set_message(format!("{}\n{below}", fit(&left, columns().saturating_sub(BAR))));
    }

    /// Seconds left; before the first trial has ended, by how long one of `trial_s` seconds takes.
    fn left(&self, trial_s: f64) -> f64 {
        match self.left {
            Some((seconds, said)) => (seconds - said.elapsed().as_secs_f64()).max(0.0),
            None => self.bar.length().unwrap_or(0) as f64 * (trial_s + OVERHEAD),
        }
    }
}

/// However a run ends, the live lines go.
impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How wide the terminal is at the moment.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(COLUMNS)
}

/// `oneway-tcp, 64 B at 1000/s`.
fn name(cell: &BenchmarkCase) -> String {
    format!("{}, {} B at {}", cell.lab, cell.size, cell.load.label())
}

impl runner::Progress for Live {
    fn begin(&mut self, trials: usize, skipped: &[Skipped]) {
        for skip in skipped {
            self.say(&format!("skipped {}: {}", skip.lab, skip.reason));
        }
        if trials > 0 {
            self.say(&format!("{trials} trials to run"));
        }
        self.bar.set_length(trials as u64);
    }

    fn expect(&mut self, trials: usize) {
        self.bar.set_length(trials as u64);
    }

    fn note(&mut self, line: &str) {
        self.say(line);
    }

    fn broker(&mut self, broker: Broker) {
        if self.terminal {
            self.bar.set_message(format!("\n  starting a private {broker}"));
        }
    }

    fn next(&mut self, next: &runner::Next<'_>) {
        if !self.terminal {
            return;
        }
        self.pace.clear();
        self.then = next.then.map_or_else(String::new, |cell| format!(", then {}", name(cell)));
        let of = next.of.map_or_else(|| ", in a search".to_owned(), |of| format!(" of {of}"));
        let what = format!("{}: trial {}{of}", name(next.cell), next.trial + 1);
        self.bar.set_prefix(fit(&what, columns()));
    }

    fn watch(&mut self, _: &BenchmarkCase, watch: &Watch<'_>) {
        if !self.terminal {
            return;
        }
        let rates = if watch.at < 0.0 { None } else { self.pace.note(watch.at, watch.sent, watch.received) };
        self.show(self.left(watch.ends), &lines(watch, rates, columns()));
    }

    fn trial(&mut self, cell: &BenchmarkCase, made: usize, left_s: f64) {
        self.bar.set_position(made as u64);
        self.left = Some((left_s, Instant::now()));
        let Some(trial) = cell.trials.iter().max_by_key(|trial| trial.position) else { return };
        let what = match &trial.failed {
            Some(reason) => format!("FAILED: {reason}"),
            None => {
                let speed = match cell.load.kind {
                    LoadKind::Drain => format!("drained {} msg/s", thousands(trial.throughput_per_s)),
                    LoadKind::Max => format!("{} msg/s", thousands(trial.throughput_per_s)),
                    LoadKind::Rate | LoadKind::Capacity | LoadKind::Sweep => match trial.response_ns.p50 {
                        Some(p50) => format!("p50 {:.0} µs", p50 as f64 / 1e3),
                        None => "too few samples".to_owned(),
                    },
                };
                format!("{speed}, {}", account(cell, &trial.counts, self.terminal))
            }
        };
        let total = self.bar.length().unwrap_or(0);
        let (size, load) = (cell.size, cell.load.label());
        // On a terminal the live lines say how much is left.
        let left = if self.terminal { String::new() } else { format!("  ({} left)", human(left_s)) };
        self.say(&format!("[{made:>3}/{total}] {:<22} {size:>7} B {load:<9} {what}{left}", cell.lab));
    }

    fn round(&mut self, result_set: &Path, trials: usize) {
        if self.terminal {
            self.bar.set_prefix("");
            self.bar.set_message("\n  drawing the report");
        }
        match report::draw(result_set) {
            Ok(written) if trials == 1 => self.say(&format!(
                "First report, 1 trial each: {}\nMore trials follow; Ctrl-C ends the run and keeps its \
                 results.",
                written.html.display()
            )),
            Ok(_) => {}
            // The measurements are safe, and the report is drawn again at the end of the run.
            Err(error) => self.say(&format!("Cannot draw the report yet: {error:#}")),
        }
    }
}

/// The counts of a trial in words. `short` leaves out zeros, because many terminals have 80
/// columns. A baseline only counts messages.
fn account(cell: &BenchmarkCase, counts: &Counts, short: bool) -> String {
    if cell.is_floor() {
        return format!("{} not received", counts.lost);
    }
    let more = [(counts.duplicated, "duplicated"), (counts.reordered, "reordered")];
    let more = more.into_iter().filter(|(count, _)| !short || *count > 0);
    let more: Vec<String> = more.map(|(count, what)| format!(", {count} {what}")).collect();
    format!("{} lost{}", counts.lost, more.concat())
}
