//! What a command line asks to be run.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::Broker;

use super::args::BreakArgs;
use super::knobs::knobs;
use crate::broker::Source;
use crate::fault::campaign::Job;
use crate::fault::{self, BrokerSource, DRAIN_S, Fault, FaultPlan, Injection, SCORED, STEADY_S};
use crate::hint;
use crate::roles::Handle;

/// What has to be run.
pub(super) fn jobs(
    args: &BreakArgs,
    wanted: &[Handle],
    sources: &BTreeMap<Broker, Source>,
) -> Result<Vec<Job>> {
    ensure!(
        args.rate > 0.0 && args.rate <= 20_000.0,
        "{} messages a second are out of range; give 1 to 20,000",
        args.rate
    );
    ensure!((32..=1 << 20).contains(&args.size), "{} bytes are out of range; give 32 to 1 MiB", args.size);
    let seeds: Vec<u64> = match (args.seeds, args.seed) {
        (Some(seeds @ 1..=MOST_SEEDS), _) => (1..=seeds).collect(),
        (Some(seeds), _) => bail!("{seeds} runs are out of range; give 1 to {MOST_SEEDS}"),
        (None, seed) => vec![seed.unwrap_or(1)],
    };
    let faults: Vec<Fault> =
        args.fault.iter().map(|name| Ok(name.parse::<Fault>()?)).collect::<Result<_>>()?;
    let knobs = knobs(&args.set, wanted)?;
    let plan = args.plan.as_deref().map(FaultPlan::load).transpose()?;
    let mut jobs = Vec::new();
    for handle in wanted {
        let entry = &handle.entry;
        let source = entry.broker.and_then(|broker| sources.get(&broker));
        settings_apply(args, handle, source)?;
        let kind = match source {
            Some(Source::Url(_)) => BrokerSource::Url,
            Some(Source::Embedded) => BrokerSource::Embedded,
            _ => BrokerSource::Private,
        };
        let job = |injections: Vec<Injection>, seed: u64| {
            let usual = FaultPlan { steady_s: STEADY_S, heal_s: AFTER, drain_s: DRAIN_S, injections };
            let plan = plan.clone().unwrap_or(usual);
            job(args, handle, source, &knobs, plan, seed)
        };
        if args.all {
            let chosen = if faults.is_empty() { SCORED.to_vec() } else { faults.clone() };
            for fault in chosen.into_iter().filter(|fault| fault::why_not(*fault, entry, kind).is_none()) {
                for &seed in &seeds {
                    jobs.push(job(vec![one(args, fault, Some(seed))], seed)?);
                }
            }
            continue;
        }
        let planned = plan.iter().flat_map(|plan| &plan.injections).map(|injection| injection.fault);
        for fault in faults.iter().copied().chain(planned) {
            fault::check_applies(fault, entry, kind)?;
        }
        for &seed in &seeds {
            let injections = match &plan {
                Some(plan) => plan.injections.clone(),
                None if faults.is_empty() => {
                    ensure!(
                        args.seed.is_some() || args.seeds.is_some(),
                        "name a fault, as in `--fault link-cut`, or give --seed N for a random one; `{}` shows them",
                        hint::command(&["break", "list", &entry.name])
                    );
                    let fault = random(seed, &fault::applicable(entry, kind));
                    let fault = fault.with_context(|| format!("no fault applies to {}", entry.name))?;
                    vec![one(args, fault, Some(seed))]
                }
                None => {
                    let moment = (args.seed.is_some() || args.seeds.is_some()).then_some(seed);
                    faults.iter().map(|fault| one(args, *fault, moment)).collect()
                }
            };
            jobs.push(job(injections, seed)?);
        }
    }
    Ok(jobs)
}

/// Refuses settings for a broker that does not get them.
fn settings_apply(args: &BreakArgs, handle: &Handle, source: Option<&Source>) -> Result<()> {
    let Some(setting) = args.broker_set.first() else { return Ok(()) };
    let lab = &handle.entry.name;
    match source {
        None => bail!("`--broker-set {setting}`: {lab} has no broker"),
        Some(Source::Url(address)) => {
            bail!("`--broker-set {setting}`: the broker at {address} is your own; set it there")
        }
        Some(Source::Embedded) => bail!("`--broker-set {setting}`: the embedded broker takes no settings"),
        Some(Source::Program(_) | Source::Wheel(_)) => Ok(()),
    }
}

/// The most seeds of one command.
const MOST_SEEDS: u64 = 1000;
/// Load after the last fault, seconds.
const AFTER: f64 = 2.0;
/// How long RabbitMQ takes to start again, seconds; the others need less than one.
const RABBITMQ_STARTS: f64 = 12.0;

/// One fault, at its usual moment or at one that follows from the seed.
fn one(args: &BreakArgs, fault: Fault, seed: Option<u64>) -> Injection {
    let mut injection = match seed {
        Some(seed) => FaultPlan::from_seed(seed, &[fault], STEADY_S).injections[0],
        None => Injection::new(fault, STEADY_S),
    };
    injection.at_s = args.at.unwrap_or(injection.at_s);
    injection.for_s = args.length.unwrap_or(injection.for_s);
    injection
}

/// A fault that a seed chooses.
fn random(seed: u64, faults: &[Fault]) -> Option<Fault> {
    // Neighbouring seeds are to choose faults far apart.
    let at = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    faults.get(at.checked_rem(faults.len())?).copied()
}

fn job(
    args: &BreakArgs,
    handle: &Handle,
    source: Option<&Source>,
    knobs: &BTreeMap<String, usize>,
    plan: FaultPlan,
    seed: u64,
) -> Result<Job> {
    plan.check()?;
    let FaultPlan { heal_s, drain_s, mut injections, .. } = plan;
    injections.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let entry = &handle.entry;
    let slow = |injection: &Injection| {
        injection.fault.what == fault::What::Restart
            && injection.fault.who == fault::Who::Broker
            && entry.broker == Some(Broker::RabbitMq)
    };
    let lasts = |injection: &Injection| if slow(injection) { RABBITMQ_STARTS } else { 0.5 };
    let ends = injections.iter().map(|injection| injection.end_s() + lasts(injection)).fold(0.0, f64::max);
    let shapes = injections.iter().map(|injection| fault::shape(injection.fault, entry));
    let (senders, receivers) =
        shapes.fold((1, 1), |(s, r), shape| (s.max(shape.senders), r.max(shape.receivers)));
    Ok(Job {
        handle: handle.clone(),
        knobs: knobs.clone(),
        command: command(args, &entry.name, source, &injections, seed),
        injections,
        seed,
        rate: args.rate,
        size: args.size as usize,
        senders,
        receivers,
        seconds: ends + heal_s,
        drain: drain_s,
    })
}

/// The command that makes this run again.
fn command(
    args: &BreakArgs,
    lab: &str,
    source: Option<&Source>,
    injections: &[Injection],
    seed: u64,
) -> String {
    let (seed, rate, size) = (seed.to_string(), args.rate.to_string(), args.size.to_string());
    let mut words = vec!["break".to_owned(), lab.to_owned()];
    let mut add = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    if let Some(plan) = &args.plan {
        add("--plan", &plan.display().to_string());
    } else if args.all || !args.fault.is_empty() {
        let faults: Vec<String> = injections.iter().map(|injection| injection.fault.to_string()).collect();
        add("--fault", &faults.join(","));
        if let Some(at) = args.at {
            add("--at", &at.to_string());
        }
        if let Some(length) = args.length {
            add("--for", &length.to_string());
        }
    }
    if args.all || args.seed.is_some() || args.seeds.is_some() {
        add("--seed", &seed);
    }
    if args.rate != 500.0 {
        add("--rate", &rate);
    }
    if args.size != 64 {
        add("--size", &size);
    }
    args.set.iter().for_each(|knob| add("--set", knob));
    args.broker_set.iter().for_each(|setting| add("--broker-set", setting));
    // Its login is masked, and has to be typed again.
    if let Some(Source::Url(address)) = source {
        add("--url", &format!("{}={address}", address.broker()));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    hint::command(&words)
}
