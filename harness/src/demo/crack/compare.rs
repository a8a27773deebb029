//! `lab crack --compare`: the speed-up by workers, and the cost of the transport. Each
//! measurement tries the same words, all of them, because no word has the hash.

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use labs::apps::crack::Job;
use labs::lab::BrokerAddress;
use serde_json::json;

use super::plan::{EACH, Plan, WINDOW};
use super::progress::ProgressDisplay;
use super::search;
use crate::command::interruptible;
use crate::command::thousands;

/// One way to do the work.
struct Way {
    /// Number of worker processes; 0 for the plain loop.
    workers: usize,
    batch: u64,
    /// Duration of each round, in seconds.
    seconds: Vec<f64>,
}

impl Way {
    fn new(workers: usize, batch: u64) -> Self {
        Self { workers, batch, seconds: Vec::new() }
    }

    fn name(&self) -> String {
        match self.workers {
            0 => "plain loop".to_owned(),
            1 => "1 worker".to_owned(),
            many => format!("{many} workers"),
        }
    }

    /// The fastest round: other work on the machine can only slow a round down.
    fn best(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median round.
    fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len() / 2, sorted.len() % 2) {
            (_, _) if sorted.is_empty() => f64::NAN,
            (half, 0) => f64::midpoint(sorted[half - 1], sorted[half]),
            (half, _) => sorted[half],
        }
    }
}

pub(super) async fn main(
    plan: &Plan,
    address: Option<&BrokerAddress>,
    batches: &[u64],
    rounds: usize,
) -> Result<ExitCode> {
    let mut ways = vec![Way::new(0, plan.job.words)];
    if batches.is_empty() {
        ways.push(Way::new(1, plan.job.batch));
        if plan.workers > 1 {
            ways.push(Way::new(plan.workers, plan.job.batch));
        }
    }
    ways.extend(batches.iter().map(|&batch| Way::new(plan.workers, batch)));
    let words = thousands(plan.job.words as f64);
    errln!("{}: {words} words, {} ways, {rounds} rounds", plan.over.entry.name, ways.len());
    // Each way once per round: if the machine becomes slower, it does so for all.
    for round in 1..=rounds {
        for way in &mut ways {
            let Some(seconds) = measure(plan, address, way).await? else { return Ok(ExitCode::from(130)) };
            way.seconds.push(seconds);
            errln!("[{round}/{rounds}] {}, {} words a task: {seconds:.2} s", way.name(), way.batch);
        }
    }
    tell(plan, &ways)?;
    Ok(ExitCode::SUCCESS)
}

/// Seconds from the first task to the last result; `None` when interrupted.
async fn measure(plan: &Plan, address: Option<&BrokerAddress>, way: &Way) -> Result<Option<f64>> {
    if way.workers == 0 {
        let job = plan.job.clone();
        let alone = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            (job.alone(), start.elapsed().as_secs_f64())
        });
        let Some(done) = interruptible(alone).await else { return Ok(None) };
        let (found, seconds) = done.context("the plain loop has panicked")?;
        ensure!(found.is_none(), "a word was found although none has the hash");
        return Ok(Some(seconds));
    }
    let window = WINDOW.max(EACH * way.workers);
    let job = Job { batch: way.batch, workers: way.workers, window, ..plan.job.clone() };
    let display = RefCell::new(ProgressDisplay::new(plan, true));
    let outcome = search::run(plan, &job, address, &display).await?;
    if !outcome.exhausted {
        ensure!(outcome.found.is_none(), "a word was found although none has the hash");
        return Ok(None);
    }
    if outcome.tried != job.words {
        bail!("only {} of {} words were tried: this measurement is not valid", outcome.tried, job.words);
    }
    let seconds = display.borrow().seconds();
    Ok(Some(seconds))
}

fn tell(plan: &Plan, ways: &[Way]) -> Result<()> {
    let words = plan.job.words as f64;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let plain = ways[0].best();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header([
        "",
        "WORDS/TASK",
        "TASKS",
        "SECONDS (MEDIAN)",
        "WORDS/S",
        "SPEED-UP",
        "OF POSSIBLE",
        "COST/TASK",
    ]);
    for way in ways {
        let seconds = way.best();
        let (speed_up, tasks) = (plain / seconds, plan.job.words.div_ceil(way.batch));
        // CPUs that the workers can use.
        let possible = way.workers.clamp(1, cpus);
        let share = speed_up / possible as f64;
        let cost = (seconds * possible as f64 - plain) / tasks as f64 * 1e6;
        if plan.json {
            outln!(
                "{}",
                json!({
                    "what": "way", "lab": plan.over.entry.name, "workers": way.workers, "batch": way.batch,
                    "tasks": tasks, "words": plan.job.words, "seconds": way.seconds, "words_per_s": words / seconds,
                    "speed_up": speed_up, "of_possible": share,
                    "cost_us_per_task": (way.workers > 0).then_some(cost),
                })
            )?;
            continue;
        }
        let mut row = vec![way.name()];
        match way.workers {
            0 => row.extend(["-".to_owned(), "-".to_owned()]),
            _ => row.extend([thousands(way.batch as f64), thousands(tasks as f64)]),
        }
        row.push(format!("{seconds:.2} ({:.2})", way.median()));
        row.push(thousands(words / seconds));
        row.push(format!("{speed_up:.2}"));
        row.push(format!("{:.0} %", 100.0 * share));
        row.push(if way.workers == 0 { "-".to_owned() } else { format!("{cost:.0} µs") });
        table.add_row(row);
    }
    if plan.json {
        return Ok(());
    }
    outln!("{}", table.trim_fmt())?;
    outln!(
        "\nSECONDS: the fastest of {} rounds, and the median. Ventilator, sink and broker share {cpus} CPUs with the workers.\n\
         SPEED-UP: relative to the plain loop. OF POSSIBLE: relative to one plain loop per worker, at most one per CPU.\n\
         COST/TASK: CPU time per task that was not spent on words.",
        ways[0].seconds.len()
    )?;
    Ok(())
}
