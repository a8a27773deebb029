//! `lab run`: plays a lab's scenario, measures it for two seconds in an optimised build,
//! and says what to read next.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use labs::catalog::{Entry, Pattern};
use serde_json::json;

use super::table;
use crate::broker::{Choices, Server};
use crate::command::thousands;
use crate::command::{BrokerArgs, interruptible, lab, source, start, tell_leftovers};
use crate::demo::scenario::{self, OutputOptions};
use crate::measure::schedule;
use crate::process::guard;
use crate::results::{Arrivals, Load, LoadKind, Trial};
use crate::roles::{self, Handle};
use crate::supervisor::Placement;
use crate::trial::{self, Spec};
use crate::{hint, plan, units};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The lab, as in `pubsub-redis`; `lab list` shows them all
    lab: String,
    /// Seconds between the printed lines; default: 0.1 on a terminal, else 0. The messages are not slowed
    /// down: a scenario runs at full speed, and is printed afterwards
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    pace: Option<f64>,
    /// Seconds between the steps of the scenario itself, printed as they come; for tests that interfere
    #[arg(long, value_name = "S", default_value_t = 0.0, hide = true)]
    hold: f64,
    /// Demonstrate only, do not measure
    #[arg(long)]
    no_measure: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(super) fn main(args: &RunArgs, handles: &[Handle]) -> Result<ExitCode> {
    use std::io::IsTerminal as _;
    let handle = lab(handles, &args.lab)?;
    let choices = args.brokers.choices()?;
    let read_by_people = std::io::stdout().is_terminal() && !args.json;
    let pace = args.pace.unwrap_or(if read_by_people { 0.1 } else { 0.0 });
    let (pace, hold) = (pause("--pace", pace)?, pause("--hold", args.hold)?);
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let lanes = read_by_people.then(table::width);
    let output = OutputOptions { json: args.json, pace, hold, lanes };
    let done = runtime.block_on(interruptible(run(handle, choices, &output, !args.no_measure)));
    if done.is_none() {
        tell_leftovers(&runtime);
    }
    runtime.shutdown_background();
    match done {
        Some(done) => done.map(|()| ExitCode::SUCCESS),
        None => Ok(ExitCode::from(130)),
    }
}

fn pause(option: &str, seconds: f64) -> Result<Duration> {
    crate::command::usage(Duration::try_from_secs_f64(seconds).map_err(|error| {
        anyhow::anyhow!("`{option} {seconds}` is out of range ({error}); give seconds, as in `{option} 1`")
    }))
}

async fn run(handle: &Handle, choices: Choices, output: &OutputOptions, measure: bool) -> Result<()> {
    let entry = &handle.entry;
    let mut server = None;
    if let Some(which) = entry.broker {
        let source = source(handle, which, &choices)?;
        if source.is_private() {
            errln!("starting a private {which} …");
        }
        server = Some(start(entry, which, &source, true).await?);
    }
    let over = match &server {
        Some(server) => format!("{} {}", server.broker(), server.version()),
        None if entry.in_process() => "no broker: the roles are threads of one process".to_owned(),
        None => "no broker: the peers connect directly".to_owned(),
    };
    if !output.json {
        outln!("{}: {}\n", entry.name, over)?;
    }
    scenario::run(handle, server.as_ref(), output).await?;
    // An unoptimised build would measure the compiler's absence.
    if measure && !cfg!(debug_assertions) {
        measured(handle, server.as_mut(), output).await?;
    }
    if output.json {
        let (page, attempt) = (page(entry.pattern), attempt(entry));
        let attempt = json!({ "command": attempt.0, "why": attempt.1 });
        outln!("{}", json!({ "read": entry.source, "page": page, "try": attempt }))?;
    } else {
        outln!("\n  guarantee: {}; when the receiver is too slow: {}", entry.guarantee, entry.overload)?;
        let pattern = entry.pattern;
        outln!("  page:      {}", page(pattern))?;
        outln!("  read:      labs/examples/{pattern}.rs  (the pattern as a whole program), then")?;
        outln!("             {}  (the contract: labs/src/{pattern}/mod.rs)", entry.source)?;
        let optimised = if cfg!(debug_assertions) {
            "  (in an optimised build; this one is not optimised and does not measure)"
        } else {
            ""
        };
        outln!("  measure:   {}{optimised}", hint::command(&["bench", &entry.name]))?;
        let (command, why) = attempt(entry);
        outln!("  try:       {command}\n             {why}")?;
    }
    if let Some(server) = server {
        server.stop().await?;
    }
    Ok(())
}

/// The page about a pattern.
fn page(pattern: Pattern) -> String {
    format!("docs/patterns/{pattern}.md")
}

/// One thing to try next, and what to look for.
fn attempt(entry: &Entry) -> (String, &'static str) {
    let view = hint::command(&["view", &entry.name]);
    match entry.pattern {
        Pattern::OneWay => (view, "kill the receiver: what becomes of what is sent meanwhile?"),
        Pattern::RequestReply => (view, "slow one responder down: do the replies keep their order?"),
        Pattern::PubSub => (view, "kill a subscriber and restart it: what did it miss?"),
        Pattern::Pipeline => (view, "slow one worker down: does the other one get more tasks?"),
        Pattern::Queue => (view, "slow a consumer down and kill it at work: who gets its message?"),
        Pattern::Durable => (view, "kill a subscriber and restart it: does it get what it missed?"),
    }
}

/// One second as fast as it goes, one second at a calm rate.
async fn measured(handle: &Handle, mut server: Option<&mut Server>, output: &OutputOptions) -> Result<()> {
    for load in [Load::max(), Load::rate(1000.0, Arrivals::Constant)] {
        let size = 64;
        let spec = Spec {
            handle: handle.clone(),
            size,
            load: load.clone(),
            senders: 1,
            receivers: 1,
            warmup: 0.2,
            seconds: 1.0,
            drain: 5.0,
            window: Some(plan::WINDOW),
            knobs: BTreeMap::new(),
            seed: 1,
            placement: Placement {
                threads: handle.entry.in_process(),
                cpus: Vec::new(),
                ..Placement::default()
            },
            null_rate: schedule::null_rate(size)?,
            options: trial::TrialOptions::default(),
        };
        let outcome = trial::run(&spec, server.as_deref_mut(), 0, 0, |_| {}).await?;
        tell(&load, &outcome.trial, output)?;
    }
    Ok(())
}

fn tell(load: &Load, trial: &Trial, output: &OutputOptions) -> Result<()> {
    if output.json {
        outln!("{}", json!({ "load": load, "trial": trial }))?;
        return Ok(());
    }
    if load.kind == LoadKind::Max {
        outln!("")?;
    }
    let counts = &trial.counts;
    let account =
        format!("{} lost, {} duplicated, {} reordered", counts.lost, counts.duplicated, counts.reordered);
    let micros =
        |ns: Option<u64>| ns.map_or("withheld".to_owned(), |ns| format!("{:.0} µs", ns as f64 / 1e3));
    match (&trial.failed, load.kind) {
        (Some(reason), _) => outln!("  measured at {}: failed: {reason}", load.label()),
        (None, LoadKind::Rate) => outln!(
            "  measured, 64 B, {}:  response p50 {}, p99 {}; {account}",
            load.label(),
            micros(trial.response_ns.p50),
            micros(trial.response_ns.p99)
        ),
        (None, _) => {
            outln!(
                "  measured, 64 B, at full speed:  {} messages received a second; {account}",
                thousands(trial.throughput_per_s)
            )
        }
    }?;
    Ok(())
}
