//! Progress on a terminal: one live line with an estimate of what is left.
//! Without a terminal: a plain line for each trial.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use labs::lab::Broker;

use crate::bench;
use crate::bundle::{Cell, Counts, LoadKind, Skipped};
use crate::trial::Watch;

/// Writes to stderr, so that stdout stays for results.
pub(super) struct Live {
    bar: ProgressBar,
    terminal: bool,
}

impl Live {
    pub(super) fn new() -> Self {
        use std::io::IsTerminal as _;
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len}  {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, terminal }
    }

    fn say(&self, line: &str) {
        if self.terminal { self.bar.println(line) } else { eprintln!("{line}") }
    }
}

impl bench::Progress for Live {
    fn begin(&mut self, trials: usize, skipped: &[Skipped]) {
        for skip in skipped {
            self.say(&format!("skipped {}: {}", skip.lab, skip.reason));
        }
        if trials > 0 {
            self.say(&format!("{trials} trials to make"));
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
        self.bar.set_message(format!("starting a private {broker}"));
    }

    fn watch(&mut self, cell: &Cell, watch: &Watch<'_>) {
        let eta = self.bar.eta().as_secs();
        self.bar.set_message(format!(
            "{} {} B {}: {} ({} received)  {} left",
            cell.lab,
            cell.size,
            cell.load.label(),
            watch.what,
            watch.received,
            human(eta as f64)
        ));
    }

    fn trial(&mut self, cell: &Cell, made: usize, left_s: f64) {
        self.bar.set_position(made as u64);
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
                format!("{speed}, {}", account(cell, &trial.counts))
            }
        };
        let total = self.bar.length().unwrap_or(0);
        self.say(&format!(
            "[{made:>3}/{total}] {:<22} {:>7} B {:<9} {what}  ({} left)",
            cell.lab,
            cell.size,
            cell.load.label(),
            human(left_s)
        ));
        if made as u64 == total {
            self.bar.finish_and_clear();
        }
    }
}

/// What became of the messages, in words. A wire floor only counts.
fn account(cell: &Cell, counts: &Counts) -> String {
    if cell.is_floor() {
        return format!("{} not received", counts.lost);
    }
    format!("{} lost, {} duplicated, {} reordered", counts.lost, counts.duplicated, counts.reordered)
}

/// `42 s`, `3 min`.
pub(super) fn human(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    if whole < 90 { format!("{whole} s") } else { format!("{} min", whole.div_ceil(60)) }
}

/// `1 234 567`.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
