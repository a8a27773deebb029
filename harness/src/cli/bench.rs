//! `lab bench`: measures labs, and writes a result set with its report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use labs::catalog;
use labs::lab::Broker;

use super::progress::Live;
use super::{summary, table};
use crate::broker::Choice;
use crate::command::{BrokerArgs, interruptible, or_unread, tell_leftovers, usage};
use crate::measure::host;
use crate::process::guard;
use crate::results::{BenchmarkCase, Flag, Host, Plan, ResultSet, Run, Trial, private};
use crate::roles::protocol::{HOST, Kind};
use crate::roles::{self, Handle};
use crate::runner::{self, Request};
use crate::trial::pause;
use crate::{hint, plan, report, units};

/// The number of failed trials whose reasons are printed at the end.
const MOST_FAILURES: usize = 20;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Names, globs (quoted: 'pubsub-*') or patterns (pubsub); default: all labs
    labs: Vec<String>,
    /// quick (about 12 minutes for all labs, a first report in 5), standard (40), full (hours), or a
    /// TOML file
    #[arg(long, default_value = "quick")]
    plan: String,
    /// `max`: full speed; a number: messages per second; `capacity`: the highest rate that is sustained; `sweep`: latency
    /// from 1 % to 105 % of it; `drain[:MESSAGES]`: a backlog, queued up and then drained. Each of
    /// several is measured: max,10k
    #[arg(long, value_delimiter = ',')]
    load: Vec<String>,
    /// How scheduled times are spaced: constant, poisson, burst[:MESSAGES], ramp; poisson for
    /// capacity and sweep without it, else constant
    #[arg(long)]
    arrivals: Option<String>,
    /// Highest 99th percentile of the response time at which a rate counts as sustained, in milliseconds
    #[arg(long, value_name = "MS", value_parser = units::milliseconds)]
    objective: Option<f64>,
    /// Message size in bytes, the 32-byte header included; each of several is measured: 64,1k,64k
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = units::bytes)]
    size: Vec<u64>,
    /// Trials of each benchmark case
    #[arg(long, value_name = "N", value_parser = units::count)]
    trials: Option<usize>,
    /// Measured time of each trial, in seconds
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    seconds: Option<f64>,
    /// Warm-up before the measured time, in seconds
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    warmup: Option<f64>,
    /// Senders, requesters, publishers or producers; each of several numbers is measured: 1,2,4
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = units::count)]
    senders: Vec<usize>,
    /// Receivers, responders, subscribers, workers or consumers; each of several numbers is measured
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = units::count)]
    receivers: Vec<usize>,
    /// Most messages in flight (sent and not yet received) with `max`; `none` shows the overload policy
    #[arg(long)]
    window: Option<String>,
    /// Set a knob of a lab or of the harness; knobs are recorded with the result. Each of several values is measured: `--set batch=1,16,256`
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// Pin the roles to these CPUs, one each in turn, as in `0,2-3`
    #[arg(long, value_name = "LIST")]
    cpus: Option<String>,
    /// Start a role elsewhere, with these words in front of its own command, as in receiver="ssh host-b"; can be repeated. The same `lab` has to be there
    #[arg(long, value_name = "ROLE=PREFIX")]
    launch: Vec<String>,
    /// The program on the other side, where it is not at the same path as here
    #[arg(long, value_name = "PATH")]
    launch_program: Option<String>,
    /// The address that binding roles listen at, so that other hosts reach them; `host`: the one that the name of each role's host stands for; default: loopback
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Leave out the baselines (the same bytes over plain sockets)
    #[arg(long)]
    no_floor: bool,
    /// Keep every message in a CSV file with the raw data
    #[arg(long)]
    record: bool,
    /// Pause the private broker (SIGSTOP) AT seconds after the start of the measured time, for FOR seconds, as in `1:0.3`
    #[arg(long, value_name = "AT:FOR")]
    pause_broker: Option<String>,
    /// Seconds without an arrival after which missing messages are given up
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    drain: Option<f64>,
    /// Seed of the random order, arrivals and bootstrap; it is recorded
    #[arg(long, value_name = "N", value_parser = units::whole)]
    seed: Option<u64>,
    /// Name of this machine in the results, where its own name changes, as in containers
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Continue the interrupted run in --out
    #[arg(long, requires = "out")]
    resume: bool,
    /// Folder to write to; default: a new folder below results/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the run as JSON at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(super) fn main(args: &BenchArgs, handles: &[Handle]) -> Result<ExitCode> {
    let choices = args.brokers.choices()?;
    let own = choices.iter().filter(|(_, choice)| matches!(choice, Choice::Address(_)));
    let own: Vec<Broker> = own.map(|(broker, _)| *broker).collect();
    let plan = match (&args.out, args.resume) {
        // A resumed run holds its own plan.
        (Some(out), true) => {
            let made = ResultSet::open(out)?.1.plan;
            usage(same_plan(args, &made))?;
            made
        }
        _ => {
            let plan = usage(read(args))?;
            usage(knobs(&plan, handles))?;
            plan
        }
    };
    usage(plan::check(&plan))?;
    usage(runner::check(&plan, handles))?;
    usage(plan.cpus.as_deref().map(plan::usable_cpus).transpose())?;
    if let Some(listen) = &plan.listen {
        let place = if listen == HOST { "the address of their host's name" } else { listen };
        errln!(
            "Roles that bind listen at {place}, without encryption or a password: use a network that you trust."
        );
    }
    let binds = |kind: Kind| !kind.binds(true).is_empty();
    if plan.listen.is_none() && plan::launch(&plan)?.kinds().any(binds) {
        errln!("Roles that bind listen on their host's loopback: give --listen if that is another host.");
    }
    let host = usage(host_named(args.host.as_deref()))?;
    let out = args.out.clone().map_or_else(|| runner::default_out(&plan.name, &host), Ok)?;
    guard::enter()?;
    let request = Request {
        handles,
        plan,
        choices,
        seed: args.seed.unwrap_or_else(fresh_seed),
        out: &out,
        host,
        resume: args.resume,
        strict: std::env::var("CI").is_ok_and(|ci| ci == "true"),
    };
    let runtime = roles::runtime(0)?;
    let mut live = Live::new();
    let done = runtime.block_on(interruptible(runner::run(&request, &mut live)));
    // However it ended, nothing of it stays on the terminal.
    drop(live);
    if done.is_none() {
        tell_leftovers(&runtime);
    }
    // Only blocked cleanup tasks of the run may remain.
    runtime.shutdown_background();
    let Some(run) = done else {
        let (_, run) = ResultSet::open(&out)?;
        let made: usize = run.cells.iter().map(|cell| cell.trials.len()).sum();
        // How many trials a search takes is known at its end.
        let planned = run.cells.iter().filter(|cell| cell.part_of.is_none()).count() * run.plan.trials;
        errln!("\ninterrupted after {made} of {} trials; their results are kept", planned.max(made));
        if made > 0 {
            errln!("The report: {}", report::draw(&out)?.html.display());
        }
        errln!("To continue: {}", resume(&out));
        return Ok(ExitCode::from(130));
    };
    let run = run?;
    let written = report::draw(&out)?;
    // Everything is on disk already: an error in packing is reported last.
    let packed = ResultSet::open(&out)?.0.pack();
    let text =
        if args.json { serde_json::to_string_pretty(&run)? } else { summary::of(&run, table::width()) };
    or_unread(outln!("{}", text.trim_end()).map_err(Into::into))?;
    errln!("\nThe report: {}", written.html.display());
    if private::is_private(&out) {
        errln!("To publish it: {}", hint::command(&["report", "--publish", &out.display().to_string()]));
    }
    let broken = broken_promises(&run);
    if !broken.is_empty() {
        errln!("\nBROKEN PROMISE: confirmed messages were lost, and these labs promise that none is:");
        broken.iter().for_each(|broken| errln!("  {broken}"));
    }
    let failures = failures(&run);
    let unused = unused(&run, &own);
    unused.iter().for_each(|broker| errln!("nothing was measured over the {broker} of --url; see above"));
    if failures.is_empty() {
        let good = broken.is_empty() && unused.is_empty();
        let code = if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        return packed.map(|_| code);
    }
    errln!("{} failed:", report::number::plural(failures.len(), "trial", "trials"));
    failures.iter().take(MOST_FAILURES).for_each(|failure| errln!("  {failure}"));
    if failures.len() > MOST_FAILURES {
        errln!("  … and {} more; the report lists all of them", failures.len() - MOST_FAILURES);
    }
    errln!("To repeat them: {}", resume(&out));
    packed.map(|_| ExitCode::FAILURE)
}

/// Brokers of the user's own that no lab could run over.
fn unused(run: &Run, own: &[Broker]) -> Vec<Broker> {
    let used = |broker: &&Broker| {
        !run.cells.iter().any(|cell| cell.broker.as_deref() == Some(broker.as_str()))
            && run.skipped.iter().any(|skip| broker_of(&skip.lab) == Some(**broker))
    };
    own.iter().filter(used).copied().collect()
}

fn broker_of(lab: &str) -> Option<Broker> {
    catalog::entries().into_iter().find(|entry| entry.name == lab)?.broker
}

/// This machine, under the name that the user gives it.
pub(super) fn host_named(name: Option<&str>) -> Result<Host> {
    let mut host = host::host();
    if let Some(name) = name {
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        ensure!(
            (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.'),
            "`{name}` cannot be the name of a machine; use up to 64 letters, digits, `-`, `_` and `.`"
        );
        name.clone_into(&mut host.name);
    }
    Ok(host)
}

/// A resumed run takes its plan from its result set. Whatever else is given must say the same.
fn same_plan(args: &BenchArgs, made: &Plan) -> Result<()> {
    let given = read(args)?;
    if given == plan::load("quick")? {
        return Ok(());
    }
    let differ = given.differences(made)?;
    ensure!(
        differ.is_empty(),
        "the result set was made with another plan (other {}); leave these options out, or give a new --out",
        differ.join(", ")
    );
    Ok(())
}

/// The command that continues a run.
fn resume(out: &Path) -> String {
    hint::command(&["bench", "--resume", "--out", &out.display().to_string()])
}

/// `queue-redis, 64 B, max, trial 2: the broker died`, for each trial that has failed.
fn failures(run: &Run) -> Vec<String> {
    trials_with(run, |trial| trial.failed.clone())
}

/// The same for each trial that lost confirmed messages of a lab that promises to lose none.
fn broken_promises(run: &Run) -> Vec<String> {
    trials_with(run, |trial| {
        let broken = trial.flags.contains(&Flag::BrokenPromise);
        broken.then(|| format!("{} confirmed messages lost", trial.counts.confirmed_lost))
    })
}

fn trials_with(run: &Run, what: impl Fn(&Trial) -> Option<String>) -> Vec<String> {
    let all = run.cells.iter().flat_map(|cell| cell.trials.iter().map(move |trial| (cell, trial)));
    let named = |(cell, trial): (&BenchmarkCase, &Trial)| {
        let (load, number) = (cell.load.label(), trial.number());
        Some(format!("{}, {} B, {load}, trial {number}: {}", cell.lab, cell.size, what(trial)?))
    };
    all.filter_map(named).collect()
}

/// Every knob of the plan is one of a chosen lab, or of the loops that measure it.
pub(super) fn knobs(plan: &Plan, handles: &[Handle]) -> Result<()> {
    let chosen = plan::select(handles, &plan.labs)?;
    let labs = || chosen.iter().map(|handle| &handle.entry);
    let mut known = plan::knobs_of_labs(labs());
    known.extend(plan::knobs_of_loops(labs()));
    let names = plan.knobs.keys().chain(plan.axes.keys()).map(String::as_str);
    plan::check_knobs(names, &known, labs().next())
}

/// The plan, with what the command line changes in it.
fn read(args: &BenchArgs) -> Result<Plan> {
    let mut plan = plan::load(&args.plan)?;
    let spacing = args.arrivals.as_deref().map(plan::parse_arrivals).transpose()?;
    if !args.labs.is_empty() {
        plan.labs.clone_from(&args.labs);
    }
    if args.load.is_empty() {
        for load in plan.loads.iter_mut().filter(|load| load.arrivals.is_some()) {
            if let Some(spacing) = spacing {
                (load.arrivals, load.burst) = (Some(spacing.arrivals), spacing.burst);
            }
        }
    } else {
        plan.loads = args.load.iter().map(|load| plan::parse_load(load, spacing)).collect::<Result<_>>()?;
    }
    if !args.size.is_empty() {
        plan.sizes.clone_from(&args.size);
    }
    plan.trials = args.trials.unwrap_or(plan.trials);
    plan.seconds = args.seconds.unwrap_or(plan.seconds);
    plan.warmup_s = args.warmup.unwrap_or(plan.warmup_s);
    plan.drain_s = args.drain.unwrap_or(plan.drain_s);
    for (axis, given) in [(&mut plan.senders, &args.senders), (&mut plan.receivers, &args.receivers)] {
        if !given.is_empty() {
            axis.clone_from(given);
        }
    }
    if let Some(p99_ms) = args.objective {
        plan.objective = plan::objective(p99_ms)?;
    }
    plan.cpus = args.cpus.clone().or(plan.cpus);
    for text in &args.launch {
        let (role, prefix) = text.split_once('=').with_context(|| {
            format!("`--launch {text}`: give ROLE=\"PREFIX\", as in receiver=\"ssh host-b\"")
        })?;
        let twice = args.launch.iter().filter(|other| other.starts_with(&format!("{role}="))).count() > 1;
        ensure!(!twice, "`--launch {role}` was given twice; a role is started in one way");
        plan.launch.insert(role.to_owned(), prefix.to_owned());
    }
    plan.launch_program = args.launch_program.clone().or(plan.launch_program);
    plan.listen = args.listen.clone().or(plan.listen);
    plan.floor &= !args.no_floor;
    plan.record |= args.record;
    plan.pause = args.pause_broker.as_deref().map(pause::parse).transpose()?.or(plan.pause);
    match args.window.as_deref() {
        None => {}
        Some("none") => plan.window = None,
        Some(number) => {
            plan.window = Some(
                units::whole(number)
                    .with_context(|| format!("`{number}` is not a window: give a number, or `none`"))?,
            );
        }
    }
    for setting in &args.set {
        let (knob, values) = plan::parse_setting(setting)?;
        plan::set(&mut plan, knob, values);
    }
    plan::remove_repeats(&mut plan);
    Ok(plan)
}

/// The seed if none is given; it is recorded, too.
pub(super) fn fresh_seed() -> u64 {
    jiff::Timestamp::now().as_nanosecond() as u64
}
