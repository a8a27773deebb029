//! `lab break run`: plays a failure scenario, and says whether what it teaches was seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use labs::catalog::Entry;

use super::knobs::knobs;
use super::show::CANNOT_TELL;
use crate::command::{BrokerArgs, Usage, interruptible, source, tell_leftovers, usage};
use crate::failure::{self, ALL, Scenario, Sources};
use crate::measure::host;
use crate::process::guard;
use crate::replay::{self, Replay};
use crate::report::scenario;
use crate::results::{self, Lock, Outcome, ScenarioRun, ScenarioSet};
use crate::roles::{self, Handle};
use crate::{hint, plan, runner, units};

#[derive(Debug, Args)]
pub(super) struct ScenarioArgs {
    /// The scenario, as in `late-subscriber`; `lab break list` shows them all; with --all: none
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    scenario: Option<String>,
    /// The transport, as in `redis` or `rabbitmq`; a wrong name lists the valid ones
    #[arg(long, value_name = "TRANSPORT")]
    over: Option<String>,
    /// Every scenario, over its usual transport or the one of --over where it can be shown there
    #[arg(long)]
    all: bool,
    /// Plays it so often, each time from the start; the worst outcome counts
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    times: usize,
    /// Set a knob of the lab, as in `lease-ms=500`; can be repeated
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// Folder for the runs, their pictures and a page
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object per run, without the story
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

/// The scenario of this name.
fn named(name: &str) -> Result<&'static Scenario> {
    if let Some(scenario) = ALL.iter().find(|scenario| scenario.name == name) {
        return Ok(scenario);
    }
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
    let near = plan::nearest(name, names.iter().copied());
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    bail!(Usage(format!("there is no scenario `{name}`; {hint}The scenarios are {}", names.join(", "))))
}

/// The lab that a scenario runs over, with this transport.
fn lab_of<'a>(scenario: &Scenario, over: &str, handles: &'a [Handle]) -> Result<&'a Handle> {
    let entries: Vec<Entry> = handles.iter().map(|handle| handle.entry.clone()).collect();
    let can = scenario.transports(&entries);
    let of_pattern = |handle: &&Handle| handle.entry.pattern == scenario.pattern;
    let found = handles.iter().filter(of_pattern).find(|handle| scenario.transport_of(&handle.entry) == over);
    if let Some(handle) = found {
        return match (scenario.why_not)(&handle.entry) {
            None => Ok(handle),
            Some(why) => bail!(Usage(format!(
                "{} cannot be shown over `{over}`: {why}; it runs over {}",
                scenario.name,
                can.join(", ")
            ))),
        };
    }
    let near = plan::nearest(over, can.iter().map(String::as_str));
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    bail!(Usage(format!(
        "{} is about the pattern {}, which has no lab over `{over}`; {hint}It runs over {}",
        scenario.name,
        scenario.pattern,
        can.join(", ")
    )))
}

/// What is to be played.
struct Wanted<'a> {
    scenario: &'static Scenario,
    handle: &'a Handle,
    over: String,
    sources: Sources,
    knobs: BTreeMap<String, usize>,
}

fn wanted<'a>(args: &ScenarioArgs, handles: &'a [Handle]) -> Result<Vec<Wanted<'a>>> {
    let choices = args.brokers.choices()?;
    let one = |scenario: &'static Scenario, over: &str| {
        let handle = lab_of(scenario, over, handles)?;
        let sources = match handle.entry.broker {
            Some(broker) => [(broker, source(handle, broker, &choices)?)].into(),
            None => Sources::new(),
        };
        let knobs = usage(knobs(&args.set, std::slice::from_ref(handle)))?;
        anyhow::Ok(Wanted { scenario, handle, over: over.to_owned(), sources, knobs })
    };
    if let Some(name) = &args.scenario {
        let scenario = named(name)?;
        return Ok(vec![one(scenario, args.over.as_deref().unwrap_or(scenario.usual))?]);
    }
    let mut all = Vec::new();
    for scenario in &ALL {
        match one(scenario, args.over.as_deref().unwrap_or(scenario.usual)) {
            Ok(wanted) => all.push(wanted),
            Err(why) => errln!("{} is left out: {why:#}", scenario.name),
        }
    }
    if all.is_empty() {
        bail!(Usage("no scenario can be played with these options".to_owned()));
    }
    Ok(all)
}

pub(super) fn main(args: &ScenarioArgs, handles: &[Handle]) -> Result<ExitCode> {
    if args.times == 0 {
        bail!(Usage("`--times 0` plays nothing; give 1 or more".to_owned()));
    }
    let wanted = wanted(args, handles)?;
    guard::enter()?;
    let mut lock = None;
    let mut set = ScenarioSet::new(host::host(), host::versions(BTreeMap::new()));
    if let Some(out) = &args.out {
        let there = out.join(results::SCENARIOS).exists();
        results::private::create(out)?;
        lock = Some(Lock::of(out)?);
        if there {
            set = ScenarioSet::open(out)?;
            let same = runner::same_program_and_machine(&set.versions, &set.host);
            same.with_context(|| format!("{} cannot be continued", out.display()))?;
        }
    }
    let runtime = roles::runtime(0)?;
    let (mut outcomes, mut failed) = (Vec::new(), false);
    let done = runtime.block_on(interruptible(async {
        for wanted in &wanted {
            for _ in 0..args.times {
                let (run, replays) = match play(args, wanted).await {
                    Ok(played) => played,
                    Err(error) if args.all => {
                        // The other scenarios can still be played.
                        errln!("{}: {error:#}", wanted.scenario.name);
                        failed = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                outcomes.push(run.outcome);
                if let Some(out) = &args.out {
                    saved(&run, &replays, out)?;
                    set.put(run);
                    set.save(out)?;
                }
            }
        }
        anyhow::Ok(())
    }));
    // Also what a scenario has left that ended with an error.
    tell_leftovers(&runtime);
    runtime.shutdown_background();
    drop(lock);
    let Some(done) = done else {
        return Ok(ExitCode::from(130));
    };
    done?;
    if let Some(out) = &args.out {
        tell_written(&set, out)?;
    }
    Ok(match outcomes.iter().max() {
        _ if failed => ExitCode::FAILURE,
        Some(Outcome::Holds) => ExitCode::SUCCESS,
        Some(Outcome::CannotTell) | None => ExitCode::from(CANNOT_TELL),
        Some(Outcome::DoesNotHold) => ExitCode::FAILURE,
    })
}

/// Writes what happened as a page that replays it.
fn saved(run: &ScenarioRun, replays: &[Replay], out: &Path) -> Result<()> {
    if replays.is_empty() {
        return Ok(());
    }
    let path = out.join(scenario::picture_name(run)).with_extension("html");
    replay::save(replays, &path)?;
    errln!("{}", path.display());
    Ok(())
}

fn tell_written(set: &ScenarioSet, out: &Path) -> Result<()> {
    for path in scenario::write(set, out)? {
        errln!("{}", path.display());
    }
    Ok(())
}

async fn play(args: &ScenarioArgs, wanted: &Wanted<'_>) -> Result<(ScenarioRun, Vec<Replay>)> {
    let Wanted { scenario, handle, over, sources, knobs } = wanted;
    let mut words = vec!["break", "run", scenario.name, "--over", over];
    for set in &args.set {
        words.extend(["--set", set]);
    }
    let command = hint::line(None, &words);
    if !args.json {
        outln!("{}\n  over {}\n\n  Predict first: {}", scenario.title, handle.entry.name, scenario.question)?;
    }
    let json = args.json;
    let tell = Box::new(move |line: &str| {
        if !json {
            // The reader of the output has closed it: the scenario still runs to its end.
            let _ = outln!("{line}");
        }
    });
    let (run, replays) =
        failure::recorded(scenario, handle, knobs.clone(), sources.clone(), command, tell).await?;
    if args.json {
        outln!("{}", serde_json::to_string(&run)?)?;
        return Ok((run, replays));
    }
    outln!("\n  What was seen")?;
    for check in &run.checks {
        outln!("  {:<13} {}", check.outcome.to_string(), check.claim)?;
        outln!("  {:<13} {}", "", check.seen)?;
    }
    if !run.facts.is_empty() {
        outln!("")?;
    }
    for fact in &run.facts {
        outln!("  {}: {}", fact.name, fact.value)?;
    }
    outln!("\n  {}: {}", scenario.name, run.outcome)?;
    outln!("\n  {}", scenario.lesson.join("\n  "))?;
    outln!("\n  read:  docs/{}", scenario.page())?;
    outln!("  again: {}\n", hint::command(&words))?;
    Ok((run, replays))
}
