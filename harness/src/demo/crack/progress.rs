//! The progress display of a search: notes and progress on stderr, the result (with
//! `--json` everything) on stdout.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use labs::apps::crack::{Outcome, SearchEvent};
use labs::lab::Guarantee;
use serde_json::{Value, json};

use super::plan::Plan;
use crate::command::{live_terminal, thousands};

/// How often a line of progress is written without a terminal.
const LINE: Duration = Duration::from_secs(2);
/// The rate is computed over this many ticks, since it changes as workers join and leave.
const RECENT: usize = 50;

/// The work of one worker.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    words: u64,
    tasks: u64,
}

/// The state of a search, and its display.
pub(super) struct ProgressDisplay {
    words: u64,
    guarantee: Guarantee,
    json: bool,
    /// Print nothing: a comparison has its own table.
    quiet: bool,
    terminal: bool,
    bar: ProgressBar,
    pids: BTreeMap<String, u32>,
    here: BTreeSet<String>,
    shares: BTreeMap<String, Share>,
    tried: u64,
    twice: u64,
    delivered_again: u64,
    issued_again: u64,
    refused: u64,
    died: u64,
    started: Option<Instant>,
    over: Option<Instant>,
    recent: VecDeque<(Instant, u64)>,
    line: Instant,
}

impl ProgressDisplay {
    pub(super) fn new(plan: &Plan, quiet: bool) -> Self {
        let terminal = live_terminal() && !quiet;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(plan.job.words), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3} %  {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            words: plan.job.words,
            guarantee: plan.over.entry.guarantee,
            json: plan.json,
            quiet,
            terminal,
            bar,
            pids: BTreeMap::new(),
            here: BTreeSet::new(),
            shares: BTreeMap::new(),
            tried: 0,
            twice: 0,
            delivered_again: 0,
            issued_again: 0,
            refused: 0,
            died: 0,
            started: None,
            over: None,
            recent: VecDeque::new(),
            line: Instant::now(),
        }
    }

    /// Prints a line for people, and an object for programs.
    pub(super) fn say(&self, line: &str, object: &Value) {
        if self.quiet {
            return;
        }
        if self.terminal {
            self.bar.println(line)
        } else {
            errln!("{line}")
        }
        self.program(object);
    }

    fn program(&self, object: &Value) {
        if self.json && !self.quiet {
            // If the reader has closed the pipe, the search still ends in order.
            let _ = outln!("{object}");
        }
    }

    /// The processes that were started as workers.
    pub(super) fn workers(&mut self, pids: &BTreeMap<String, u32>) {
        self.pids.clone_from(pids);
    }

    pub(super) fn note(&mut self, event: SearchEvent) {
        match event {
            SearchEvent::Open => {}
            SearchEvent::Joined(worker) => {
                let pid = self.pids.get(&worker).copied();
                let process = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
                let object = json!({ "what": "joined", "worker": worker, "pid": pid });
                self.say(&format!("{worker} has joined{process}"), &object);
                self.here.insert(worker);
            }
            SearchEvent::Left(worker) => {
                self.here.remove(&worker);
                // At the end all workers leave, and the result shows how many.
                if self.over.is_none() {
                    let line = format!("{worker} has left; {} here", self.role_counts());
                    self.say(&line, &json!({ "what": "left", "worker": worker }));
                }
            }
            SearchEvent::Started => {
                self.started = Some(Instant::now());
                self.line = Instant::now();
                self.program(&json!({ "what": "started", "workers": self.here.len() }));
            }
            SearchEvent::Done { words, worker, attempt } => {
                self.tried += words;
                self.delivered_again += u64::from(attempt > 1);
                let share = self.shares.entry(worker.unwrap_or_else(|| "unnamed".to_owned())).or_default();
                share.words += words;
                share.tasks += 1;
            }
            SearchEvent::Twice(_) => self.twice += 1,
            SearchEvent::Again(ranges) => {
                self.issued_again += ranges.len() as u64;
                let first: Vec<String> = ranges.iter().take(3).map(ToString::to_string).collect();
                let more = if ranges.len() > 3 { ", …" } else { "" };
                self.say(
                    &format!(
                        "no report has come for a while: {} tasks are issued again (words {}{more})",
                        ranges.len(),
                        first.join(", ")
                    ),
                    &json!({ "what": "again", "tasks": ranges.len() }),
                );
            }
            SearchEvent::Refused(why) => {
                self.refused += 1;
                self.say(&format!("a report was refused: {why}"), &json!({ "what": "refused", "why": why }));
            }
            SearchEvent::Over(_) => {
                self.over = Some(Instant::now());
                self.bar.finish_and_clear();
            }
        }
    }

    /// A worker's process has ended; `how` is the error, if there was one.
    pub(super) fn ended(&mut self, worker: &str, how: Option<&str>) {
        let Some(how) = how else { return };
        self.here.remove(worker);
        self.died += 1;
        let fate = match self.guarantee {
            Guarantee::AtMostOnce => "its tasks are lost, and will be issued again",
            _ => "its tasks go to others",
        };
        let line = format!("{worker} has died, {how}; {fate}; {} here", self.role_counts());
        self.say(&line, &json!({ "what": "died", "worker": worker, "how": how }));
    }

    fn role_counts(&self) -> String {
        match self.here.len() {
            0 => "no worker is".to_owned(),
            1 => "1 worker is".to_owned(),
            many => format!("{many} workers are"),
        }
    }

    /// Whether the search goes on without a worker.
    pub(super) fn is_deserted(&self) -> bool {
        self.here.is_empty() && self.over.is_none()
    }

    /// Number of words that were tried so far, each counted once.
    pub(super) fn tried(&self) -> u64 {
        self.tried
    }

    /// Seconds from the first task to the end of the search.
    pub(super) fn seconds(&self) -> f64 {
        match (self.started, self.over) {
            (Some(started), Some(over)) => (over - started).as_secs_f64(),
            (Some(started), None) => started.elapsed().as_secs_f64(),
            _ => 0.0,
        }
    }

    /// Shows progress; called ten times a second.
    pub(super) fn tick(&mut self) {
        if self.started.is_none() || self.over.is_some() {
            return;
        }
        let now = Instant::now();
        self.recent.push_back((now, self.tried));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let (since, before) = self.recent[0];
        let rate = (self.tried - before) as f64 / (now - since).as_secs_f64().max(1e-9);
        let left = (rate > 0.0).then(|| (self.words - self.tried) as f64 / rate);
        let eta = left.map_or("time left unknown".to_owned(), |left| format!("{} left", human(left)));
        let message = format!(
            "{} of {} words  {} words/s  {eta}  {}",
            thousands(self.tried as f64),
            thousands(self.words as f64),
            thousands(rate),
            match self.here.len() {
                1 => "1 worker".to_owned(),
                many => format!("{many} workers"),
            }
        );
        self.bar.set_position(self.tried);
        self.bar.set_message(message.clone());
        if now - self.line >= LINE {
            self.line = now;
            if !self.terminal && !self.quiet {
                errln!("{:>3} %  {message}", 100 * u128::from(self.tried) / u128::from(self.words.max(1)));
            }
            self.program(&json!({
                "what": "progress", "tried": self.tried, "words": self.words,
                "words_per_s": rate, "left_s": left, "workers": self.here.len(),
            }));
        }
    }

    /// Prints the result.
    pub(super) fn result(&self, outcome: &Outcome) -> Result<()> {
        let seconds = self.seconds();
        let rate = if seconds > 0.0 { outcome.tried as f64 / seconds } else { 0.0 };
        if self.json {
            let shares: BTreeMap<&String, Value> = self
                .shares
                .iter()
                .map(|(name, share)| (name, json!({ "words": share.words, "tasks": share.tasks })))
                .collect();
            outln!(
                "{}",
                json!({
                    "what": "result", "found": outcome.found, "exhausted": outcome.exhausted,
                    "tried": outcome.tried, "words": self.words, "seconds": seconds, "words_per_s": rate,
                    "workers": shares, "died": self.died, "done_twice": self.twice,
                    "delivered_again": self.delivered_again, "issued_again": self.issued_again,
                    "refused": self.refused, "stop_heard": outcome.stopped, "stop_unanswered": outcome.silent,
                })
            )?;
            return Ok(());
        }
        let (tried, words) = (thousands(outcome.tried as f64), thousands(self.words as f64));
        match (&outcome.found, outcome.exhausted) {
            (Some(word), _) => outln!("found: {word}")?,
            (None, true) => outln!("not found: all {words} words were tried")?,
            (None, false) => outln!("interrupted: {tried} of {words} words were tried")?,
        }
        outln!("  {tried} words in {seconds:.3} s: {} words/s", thousands(rate))?;
        for (name, share) in &self.shares {
            outln!("  {name}: {} words in {} tasks", thousands(share.words as f64), share.tasks)?;
        }
        outln!(
            "  tasks delivered again: {}; issued again: {}; done twice and counted once: {}; reports refused: {}",
            self.delivered_again,
            self.issued_again,
            self.twice,
            self.refused
        )?;
        let all = outcome.stopped + outcome.silent.len();
        outln!("  stop: answered by {} of {all} workers", outcome.stopped)?;
        if !outcome.silent.is_empty() {
            outln!("  no answer from {}", outcome.silent.join(", "))?;
        }
        outln!("  read on: labs/src/apps/crack/mod.rs")?;
        Ok(())
    }
}

/// `0.4 s`, `42 s`, `3 min`, `5 h`, `2 days`.
fn human(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{} days", thousands(s / 86400.0)),
    }
}
