//! `lab break`: does something to a lab under steady load, and says what became of its messages; or
//! plays a scenario, which teaches one thing that goes wrong.

mod args;
mod jobs;
mod knobs;
pub(super) use knobs::knobs;
mod scenario;
mod show;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::Broker;

use crate::broker::{self, Choices, Source};
use crate::command::{Usage, interruptible, tell_leftovers, usage};
use crate::fault::campaign::{self, Brokers, Job};
use crate::measure::host;
use crate::process::guard;
use crate::replay;
use crate::report::scorecard;
use crate::results::{self, FAULT_SCHEMA, FaultRun, FaultSet, Lock, Verdict};
use crate::roles::{self, Handle};
use crate::{hint, plan, runner};
pub(super) use args::BreakArgs;
use args::BreakCommand;
use jobs::jobs;
use show::{CANNOT_TELL, detail, list, print};

/// Messages in the event record of a run with --all; a broken promise has all of its own.
const MESSAGES: usize = 10;

pub(super) fn main(args: &BreakArgs, handles: &[Handle]) -> Result<ExitCode> {
    match &args.command {
        Some(BreakCommand::List { lab, json }) => return list(lab.as_deref(), *json, handles),
        Some(BreakCommand::Run(args)) => return scenario::main(args, handles),
        None => {}
    }
    let choices = args.brokers.choices()?;
    let settings = usage(settings(args))?;
    let wanted = wanted(args, handles)?;
    let (wanted, sources) = available(wanted, &choices, args.all)?;
    let jobs = usage(jobs(args, &wanted, &sources))?;
    let out = match (&args.out, args.all) {
        (Some(out), _) => Some(out.clone()),
        (None, true) => Some(runner::default_out("faults", &host::host())?),
        (None, false) => None,
    };
    guard::enter()?;
    let mut set = FaultSet {
        schema: FAULT_SCHEMA,
        host: host::host(),
        versions: host::versions(BTreeMap::new()),
        runs: Vec::new(),
    };
    let mut lock = None;
    if let Some(out) = &out {
        if !out.join(results::FAULTS).exists() {
            results::private::create(out)?;
            set.save(out)?;
        }
        lock = Some(Lock::of(out)?);
        // Only now: another process may have written to it until a moment ago.
        set = FaultSet::open(out)?;
        let same = runner::same_program_and_machine(&set.versions, &set.host);
        same.with_context(|| format!("{} cannot be continued", out.display()))?;
    }
    let mut breaking = Breaking {
        args,
        out,
        set,
        brokers: Brokers::new(sources, settings),
        verdicts: Vec::new(),
        failed: false,
    };
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(interruptible(breaking.all(&jobs)));
    if done.is_none() {
        tell_leftovers(&runtime);
    }
    let closed = runtime.block_on(breaking.brokers.close());
    runtime.shutdown_background();
    drop(lock);
    let Some(done) = done else {
        if let Some(out) = &breaking.out {
            errln!("\ninterrupted; {0} keeps what was done; give `--out {0}` to go on there", out.display());
        }
        return Ok(ExitCode::from(130));
    };
    done.and(closed)?;
    let all = &breaking.verdicts;
    let code = match () {
        () if breaking.failed || all.contains(&Verdict::Broke) => 1,
        () if all.contains(&Verdict::CannotTell) && !args.all => CANNOT_TELL,
        () => 0,
    };
    Ok(ExitCode::from(code))
}

/// The labs that were asked for.
fn wanted(args: &BreakArgs, handles: &[Handle]) -> Result<Vec<Handle>> {
    if args.all {
        return usage(plan::select(handles, &args.labs));
    }
    let [name] = args.labs.as_slice() else {
        let command = hint::command(&["break", "queue-redis", "--fault", "receiver-kill"]);
        return Err(Usage(format!("name one lab, as in `{command}`, or give --all")).into());
    };
    Ok(vec![crate::command::lab(handles, name)?.clone()])
}

fn settings(args: &BreakArgs) -> Result<Vec<(String, String)>> {
    let read = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is not NAME=VALUE, as in `appendfsync=everysec`"))?;
        broker::check_setting(name, value)?;
        Ok((name.to_owned(), value.to_owned()))
    };
    args.broker_set.iter().map(read).collect()
}

/// The labs that can run here, and where their brokers come from. One that was named must be able
/// to; with --all, others are left out and named, except in continuous integration.
fn available(
    wanted: Vec<Handle>,
    choices: &Choices,
    all: bool,
) -> Result<(Vec<Handle>, BTreeMap<Broker, Source>)> {
    let strict = !all || std::env::var("CI").is_ok_and(|ci| ci == "true");
    let (mut handles, mut sources) = (Vec::new(), BTreeMap::new());
    for handle in wanted {
        if let Some(broker) = handle.entry.broker {
            match crate::command::source(&handle, broker, choices) {
                Ok(source) => drop(sources.insert(broker, source)),
                Err(why) if strict => return Err(why),
                Err(why) => {
                    errln!("{} is left out: {why:#}", handle.entry.name);
                    continue;
                }
            }
        }
        handles.push(handle);
    }
    ensure!(!handles.is_empty(), "none of these labs can run here");
    Ok((handles, sources))
}

/// All runs of one command.
struct Breaking<'a> {
    args: &'a BreakArgs,
    out: Option<PathBuf>,
    set: FaultSet,
    brokers: Brokers,
    verdicts: Vec<Verdict>,
    /// A run could not be made.
    failed: bool,
}

impl Breaking<'_> {
    async fn all(&mut self, jobs: &[Job]) -> Result<()> {
        for (number, job) in (1..).zip(jobs) {
            let faults: Vec<String> =
                job.injections.iter().map(|injection| injection.fault.to_string()).collect();
            let faults = faults.join("+");
            if self.args.all
                && let Some(before) = self.set.find(&job.handle.entry.name, &faults, job.seed)
            {
                if arguments(&before.command) != arguments(&job.command) {
                    bail!(
                        "{} under {faults} was run as `{}` before; give the same options, or a new --out",
                        before.lab,
                        before.command
                    );
                }
                self.verdicts.push(before.verdict);
                continue;
            }
            let many = jobs.len() > 1;
            let counted = if many { format!("[{number}/{}] ", jobs.len()) } else { String::new() };
            let quiet = many || self.args.json;
            if !many && !self.args.json {
                errln!(
                    "{} under {faults}: {} messages a second for {} s …",
                    job.handle.entry.name,
                    job.rate,
                    job.seconds
                );
            }
            let mut tell = |text: &str| {
                if !quiet {
                    errln!("  {text}");
                }
            };
            let mut run = match campaign::make(job, &mut self.brokers, &mut tell).await {
                Ok(run) => run,
                Err(error) if many => {
                    errln!("{counted}{} {faults}: {error:#}", job.handle.entry.name);
                    self.failed = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.verdicts.push(run.verdict);
            if let Some((broker, version)) = self.brokers.version() {
                self.set.versions.brokers.insert(broker, version);
            }
            if self.args.json {
                outln!("{}", serde_json::to_string(&run)?)?;
            } else if many {
                outln!("{counted}{:<24} {:<18} {}{}", run.lab, run.fault(), run.verdict, detail(&run))?;
            } else {
                print(&run)?;
            }
            self.save(job, &run)?;
            if let Some(out) = &self.out {
                if self.args.all {
                    run.keep_nearest(MESSAGES);
                }
                self.set.put(run);
                self.set.save(out)?;
            }
        }
        if let Some(out) = &self.out {
            report(&self.set, out)?;
        }
        Ok(())
    }
}

impl Breaking<'_> {
    /// Writes the replay of a run: where it was asked for, and where a promise was broken.
    fn save(&self, job: &Job, run: &FaultRun) -> Result<()> {
        let witness = self.out.as_ref().filter(|_| run.witness.is_some());
        let witness = witness.map(|out| out.join(format!("{}.html", run.id())));
        for path in self.args.save.iter().chain(&witness) {
            replay::save(&[replay::of_fault_run(run, &job.handle.entry)], path)?;
            errln!("{}", path.display());
        }
        Ok(())
    }
}

/// A command without the word that calls the program, which may be `lab` or `./run`.
fn arguments(command: &str) -> &str {
    command.split_once(" break ").map_or(command, |(_, arguments)| arguments)
}

/// Draws the table, the picture and the page of a set.
fn report(set: &FaultSet, out: &Path) -> Result<()> {
    for path in scorecard::write(set, out, Some(scorecard::DOCS))? {
        errln!("{}", path.display());
    }
    Ok(())
}
