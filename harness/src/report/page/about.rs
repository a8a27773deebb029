//! The report's facts: the machine, the versions, the plan, and the command that repeats
//! the run.

use super::super::number;
use super::fact::Fact;
use super::trials::median_steal;
use crate::results::{Arrivals, BenchmarkCase, Host, Load, LoadKind, Noise, Objective, Plan, Run, Versions};

/// `23 labs, 46 cells, 138 trials (1 failed)`.
pub(super) fn summary(run: &Run) -> String {
    let cells = run.cells.iter().filter(|cell| !cell.is_floor());
    let mut labs: Vec<&str> = cells.map(|cell| cell.lab.as_str()).collect();
    labs.sort_unstable();
    labs.dedup();
    let trials = || run.cells.iter().flat_map(|cell| &cell.trials);
    let failed = trials().filter(|trial| trial.failed.is_some()).count();
    let mut parts =
        vec![number::plural(labs.len(), "lab", "labs"), number::plural(trials().count(), "trial", "trials")];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if !run.skipped.is_empty() {
        parts.push(format!("{} skipped", number::plural(run.skipped.len(), "lab", "labs")));
    }
    parts.join(", ")
}

/// A note on missing trials, if the run was interrupted or continues.
pub(super) fn unfinished(run: &Run) -> Option<String> {
    if run.complete {
        return None;
    }
    let made = |cell: &BenchmarkCase| cell.trials.len();
    // Those of searches are not planned: how many there will be is not known.
    let planned: Vec<&BenchmarkCase> = run.cells.iter().filter(|cell| cell.part_of.is_none()).collect();
    let trials = run.plan.trials;
    let goes_on = format!(
        "The run redraws this page after each round. If it was interrupted, continue it with: {} --out \
         FOLDER.",
        crate::hint::command(&["bench", "--resume"])
    );
    Some(match planned.iter().map(|cell| made(cell)).min() {
        Some(1) if trials > 1 && planned.iter().all(|cell| made(cell) == 1) => {
            format!("This is a first look: 1 of {trials} planned trials of each. {goes_on}")
        }
        _ => format!(
            "This run is unfinished: {} of {} planned trials were run. {goes_on}",
            number::count(run.cells.iter().map(made).sum::<usize>() as u64),
            number::count(planned.len().saturating_mul(trials).max(run.cells.iter().map(made).sum()) as u64)
        ),
    })
}

fn has_intervals(run: &Run) -> bool {
    run.cells.iter().any(|cell| cell.good_trials() > 1)
}

/// The meaning of the brackets, or the reason why there are none.
pub(super) fn intervals(run: &Run) -> &'static str {
    match has_intervals(run) {
        true => "Square brackets show the 95\u{202f}% interval over the trials.",
        false => "No figure has an interval, because one trial does not show how much the next would differ.",
    }
}

pub(super) fn machine(host: &Host) -> Vec<Fact> {
    let known =
        |value: &Option<String>| value.clone().unwrap_or_else(|| "not reported by the kernel".to_owned());
    let yes = |value: bool| if value { "yes" } else { "no" };
    let mut facts = vec![
        Fact::new("Host", &host.name),
        Fact::new(
            "CPU",
            format!("{}, {}", host.cpu, number::plural(host.cores, "logical CPU", "logical CPUs")),
        ),
        Fact::new("Memory", number::bytes(host.memory_bytes)),
        Fact::new("Kernel", &host.kernel),
        Fact::new("Frequency governor", known(&host.governor)),
        Fact::new("Clock source", known(&host.clocksource)),
        Fact::new("Virtual machine", host.hypervisor.as_deref().unwrap_or_else(|| yes(host.virtualized))),
        Fact::new("Load average", host.load.map(|load| format!("{load:.2}")).join(", ")),
    ];
    // Result sets of earlier versions do not have these, and most kernels show only some.
    let more = [
        ("Container", host.container.clone()),
        ("CPU limit", host.cpu_quota.map(|cpus| format!("{cpus} of {} CPUs allowed", host.cores))),
        ("Several threads a core", host.smt.map(|smt| yes(smt).to_owned())),
        ("Turbo", host.turbo.map(|turbo| yes(turbo).to_owned())),
        ("NUMA nodes", host.numa_nodes.map(|nodes| nodes.to_string())),
        ("Transparent huge pages", host.hugepages.clone()),
        ("Timer slack", host.timer_slack_ns.map(|ns| number::time(ns as f64))),
        ("On battery", host.on_battery.map(|battery| yes(battery).to_owned())),
    ];
    facts.extend(more.into_iter().filter_map(|(name, value)| Some(Fact::new(name, value?))));
    facts.extend(host.network.iter().map(|(name, value)| Fact::new(name, value)));
    facts
}

pub(super) fn versions(versions: &Versions) -> Vec<Fact> {
    let mut facts = vec![Fact::new("lab", &versions.lab)];
    if let Some(git) = &versions.git {
        facts.push(Fact::new("Revision", git));
    }
    facts.push(Fact::new("Compiler", &versions.rustc));
    if !versions.profile.is_empty() {
        facts.push(Fact::new("Built as", &versions.profile));
    }
    facts.extend(
        versions.brokers.iter().map(|(name, version)| Fact::new(format!("{name} (broker)"), version)),
    );
    facts
        .extend(versions.crates.iter().map(|(name, version)| Fact::new(format!("{name} (client)"), version)));
    for (broker, settings) in &versions.settings {
        let pairs: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        facts.push(Fact::new(format!("{broker} (settings)"), pairs.join(", ")));
    }
    facts
}

pub(super) fn noise(noise: &Noise) -> Vec<Fact> {
    vec![
        Fact::new("Oversleep of a 1 ms sleep, median", number::time(noise.oversleep_p50_ns as f64)),
        Fact::new("99th percentile", number::time(noise.oversleep_p99_ns as f64)),
        Fact::new("Maximum", number::time(noise.oversleep_max_ns as f64)),
        Fact::new("CPU time stolen by the hypervisor", number::share(noise.steal)),
        Fact::new("CPU time used by others", number::share(noise.foreign_cpu)),
    ]
}

pub(super) fn plan(run: &Run) -> Vec<Fact> {
    let plan = &run.plan;
    let list = |values: Vec<String>| values.join(", ");
    let mut facts = vec![
        Fact::new("Plan", &plan.name),
        Fact::new(
            "Labs requested",
            if plan.labs.is_empty() { "all".to_owned() } else { list(plan.labs.clone()) },
        ),
        Fact::new("Loads", list(plan.loads.iter().map(number::load).collect())),
        Fact::new("Message size", list(plan.sizes.iter().map(|size| number::bytes(*size)).collect())),
        Fact::new(
            "Senders → receivers",
            format!("{} → {}", numbers(&plan.senders), numbers(&plan.receivers)),
        ),
        Fact::new("Trials", format!("{} per case, in random order", plan.trials)),
        Fact::new(
            "Each trial",
            format!(
                "{} s warm-up, {} s measured, drain up to {} s",
                plan.warmup_s, plan.seconds, plan.drain_s
            ),
        ),
        Fact::new("Window at maximum load", plan.window.map_or_else(|| "none".to_owned(), number::count)),
        Fact::new("CPUs", plan.cpus.clone().unwrap_or_else(|| "not pinned".to_owned())),
        Fact::new("Seed", run.seed.to_string()),
    ];
    for (role, prefix) in &plan.launch {
        facts.push(Fact::new(format!("{role} started with"), prefix));
    }
    if let Some(address) = &plan.listen {
        facts.push(Fact::new("Listening at", address));
    }
    if let Some(pause) = plan.pause {
        let text = format!("paused {} s into the measured time, for {} s", pause.at_s, pause.for_s);
        facts.push(Fact::new("Broker", text));
    }
    if let Some(steal) = median_steal(&run.cells) {
        facts.push(Fact::new("CPU stolen during trials, median", number::share(steal)));
    }
    facts
}

/// The factor by which intervals were widened, and its source; `None` if they were not.
pub(super) fn widening(run: &Run) -> Option<String> {
    let widening = run.widening.as_ref().filter(|_| has_intervals(run))?;
    let runs = match widening.from.len() {
        2 => "two".to_owned(),
        several => several.to_string(),
    };
    Some(format!(
        "Intervals are {} wider than the trials of this run alone give: of {runs} runs of one plan on this \
         machine ({}), the intervals of {} of the figures overlapped",
        number::wider(widening.factor),
        widening.from.join(", "),
        number::share(widening.agreed)
    ))
}

/// `1`, or the values of an axis: `1,2,4`.
fn numbers(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Each lab's knobs with their values, said once.
pub(super) fn knobs(run: &Run) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    for cell in run.cells.iter().filter(|cell| !cell.knobs.is_empty()) {
        if facts.iter().all(|fact| fact.key != cell.lab) {
            let knobs: Vec<String> =
                cell.knobs.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            facts.push(Fact::new(&cell.lab, knobs.join(", ")));
        }
    }
    facts
}

/// The command that makes the run again, with everything the plan says.
pub(in crate::report) fn command(plan: &Plan) -> String {
    let mut words = vec!["lab".to_owned(), "bench".to_owned()];
    words.extend(plan.labs.iter().map(|lab| quoted(lab)));
    let mut option = |name: &str, value: &str| {
        words.push(format!("--{name}"));
        words.push(quoted(value));
    };
    option("plan", &plan.name);
    for load in &plan.loads {
        match (load.kind, load.rate, load.messages) {
            (LoadKind::Rate, Some(rate), _) => option("load", &rate.to_string()),
            (LoadKind::Drain, _, Some(messages)) => option("load", &format!("drain:{messages}")),
            _ => option("load", load.label().split(' ').next().unwrap_or("max")),
        }
    }
    // Whatever loads have arrivals have those that were asked for; without a word, rates are constant and
    // searches are Poisson.
    let usual = |load: &Load| if load.is_open() { Arrivals::Constant } else { Arrivals::Poisson };
    if let Some(load) = plan.loads.iter().find(|load| load.arrivals.is_some_and(|own| own != usual(load))) {
        match (load.arrivals, load.burst) {
            (Some(Arrivals::Burst), Some(burst)) => option("arrivals", &format!("burst:{burst}")),
            (Some(Arrivals::Poisson), _) => option("arrivals", "poisson"),
            (Some(Arrivals::Ramp), _) => option("arrivals", "ramp"),
            _ => option("arrivals", "constant"),
        }
    }
    for size in &plan.sizes {
        option("size", &size.to_string());
    }
    option("trials", &plan.trials.to_string());
    option("seconds", &plan.seconds.to_string());
    option("drain", &plan.drain_s.to_string());
    option("senders", &numbers(&plan.senders));
    option("receivers", &numbers(&plan.receivers));
    if plan.objective != Objective::default() {
        option("objective", &(plan.objective.p99_ns as f64 / 1e6).to_string());
    }
    for (knob, values) in &plan.axes {
        option("set", &format!("{knob}={}", numbers(values)));
    }
    option("window", &plan.window.map_or_else(|| "none".to_owned(), |window| window.to_string()));
    for (knob, value) in &plan.knobs {
        option("set", &format!("{knob}={value}"));
    }
    for (role, prefix) in &plan.launch {
        option("launch", &format!("{role}={prefix}"));
    }
    if let Some(program) = &plan.launch_program {
        option("launch-program", program);
    }
    if let Some(address) = &plan.listen {
        option("listen", address);
    }
    if let Some(cpus) = &plan.cpus {
        option("cpus", cpus);
    }
    if let Some(pause) = plan.pause {
        option("pause-broker", &format!("{}:{}", pause.at_s, pause.for_s));
    }
    if plan.record {
        words.push("--record".to_owned());
    }
    if !plan.floor && plan.senders == [1] && plan.receivers == [1] {
        words.push("--no-floor".to_owned());
    }
    words.join(" ")
}

/// A word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
