//! The cases of a run: the labs of the plan that can run here, with every size, shape and
//! load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::Broker;

use super::available::Available;
use super::request::Request;
use crate::broker::Source;
use crate::compare::reproducibility;
use crate::measure::host;
use crate::measure::noise::Meter;
use crate::results::private::RESULTS;
use crate::results::{
    BenchmarkCase, ECHO, FLOOR, Host, Load, LoadKind, Lock, Part, Plan, ResultSet, Run, SCHEMA, Skipped,
    Subject, Versions,
};
use crate::roles::{Handle, baseline};
use crate::trial;

/// A new result set or the one to continue, and the lock that keeps others from writing to it.
pub(super) fn open(
    request: &Request<'_>,
    handles: &[Handle],
    available: &Available,
) -> Result<(ResultSet, Run, Lock)> {
    let (sources, mut skipped) = (&available.sources, available.skipped.clone());
    if request.resume {
        let (result_set, _) = ResultSet::open(request.out)?;
        let lock = result_set.lock()?;
        // Only now: another process may have written to it until a moment ago.
        let (result_set, mut run) = ResultSet::open(request.out)?;
        ensure!(
            run.plan == request.plan,
            "{} was made with another plan; give the same labs and options, or a new --out",
            request.out.display()
        );
        same_conditions(&run, sources)
            .with_context(|| format!("{} cannot be continued", request.out.display()))?;
        run.sources = said(sources);
        // A trial of the plan whose recording is damaged is measured again.
        for cell in run.cells.iter_mut().filter(|cell| cell.part_of.is_none()) {
            let id = &cell.id;
            cell.trials.retain(|trial| trial.failed.is_some() || result_set.raw(id, trial.index).is_ok());
        }
        return Ok((result_set, run, lock));
    }
    let host = request.host.clone();
    let widening = reproducibility::saved(Path::new(RESULTS), &host)?;
    let result_set = ResultSet::create(request.out)?;
    let lock = result_set.lock()?;
    let noise = Meter::before();
    let plan = &request.plan;
    let mut cells = Vec::new();
    for setting in settings(handles, plan, &mut skipped)? {
        if available.too_large.contains(&(setting.handle.entry.transport, setting.size)) {
            continue;
        }
        let single = |load: &&Load| !matches!(load.kind, LoadKind::Capacity | LoadKind::Sweep);
        for load in plan.loads.iter().filter(single).filter(|load| setting.bears(load.kind)) {
            cells.push(setting.cell(load, None));
        }
    }
    let all: BTreeSet<String> = cells.iter().map(|cell| cell.id.clone()).collect();
    for cell in &mut cells {
        cell.floor = cell.floor.take().filter(|floor| all.contains(floor));
    }
    let run = Run {
        schema: SCHEMA,
        name: request.out.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        created: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        seed: request.seed,
        complete: false,
        host,
        versions: host::versions(BTreeMap::new()),
        noise,
        plan: plan.clone(),
        cells,
        capacities: Vec::new(),
        sweeps: Vec::new(),
        skipped,
        sources: said(sources),
        widening,
    };
    result_set.save(&run)?;
    Ok((result_set, run, lock))
}

/// Where brokers come from, as a result set says it.
fn said(sources: &BTreeMap<Broker, Source>) -> BTreeMap<String, String> {
    let said = |source: &Source| match source {
        Source::Url(address) => address.to_string(),
        private => private.as_str().to_owned(),
    };
    sources.iter().map(|(broker, source)| (broker.to_string(), said(source))).collect()
}

/// Refuses to continue what another program has made, or another machine.
///
/// # Errors
/// What differs, then and now.
pub(crate) fn same_program_and_machine(then: &Versions, made_on: &Host) -> Result<()> {
    let differs = |what: &str, then: &str, now: &str| {
        format!("it was made with {what} {then}, and this is {now}; begin a new one with a new --out")
    };
    let now = host::versions(BTreeMap::new());
    let program = |versions: &Versions| {
        format!("{} ({}, {})", versions.lab, versions.git.as_deref().unwrap_or("no commit"), versions.profile)
    };
    ensure!(program(then) == program(&now), differs("lab", &program(then), &program(&now)));
    let host = host::host();
    let machine = |host: &Host| format!("{}, {} CPUs, {}", host.name, host.cores, host.cpu);
    ensure!(machine(made_on) == machine(&host), differs("the machine", &machine(made_on), &machine(&host)));
    Ok(())
}

/// Refuses to mix what cannot be compared: another program, another machine, another broker.
fn same_conditions(run: &Run, sources: &BTreeMap<Broker, Source>) -> Result<()> {
    same_program_and_machine(&run.versions, &run.host)?;
    for (broker, now) in said(sources) {
        if let Some(then) = run.sources.get(&broker).filter(|then| **then != now) {
            bail!(
                "it was made with {broker} from `{then}`, and this one is from `{now}`; give the same \
                 --url as then, or begin a new one with a new --out"
            );
        }
    }
    Ok(())
}

/// One lab, with one size, one shape and one value of every axis.
pub(super) struct Setting<'a> {
    pub(super) handle: &'a Handle,
    pub(super) size: u64,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    pub(super) set: BTreeMap<String, usize>,
}

/// Every setting of a plan. A shape that a lab does not have is left out where
/// others are asked for, too, and noted once.
pub(super) fn settings<'a>(
    handles: &'a [Handle],
    plan: &Plan,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Setting<'a>>> {
    let combinations = axes(&plan.axes);
    let mut all = Vec::new();
    for handle in handles {
        for &size in &plan.sizes {
            for (&senders, &receivers) in
                plan.senders.iter().flat_map(|s| plan.receivers.iter().map(move |r| (s, r)))
            {
                let bad: Vec<String> = plan
                    .loads
                    .iter()
                    .filter_map(|load| trial::check_shape(handle, load.kind, senders, receivers).err())
                    .map(|error| error.to_string())
                    .collect();
                let lab = &handle.entry.name;
                if !handle.baseline
                    && let Some(reason) = bad.first()
                    && !skipped.iter().any(|skip| skip.lab == *lab && skip.reason == *reason)
                {
                    skipped.push(Skipped { lab: lab.clone(), reason: reason.clone() });
                }
                if bad.len() == plan.loads.len() {
                    continue;
                }
                // Baselines have no knobs, and one sender and one receiver.
                let plain = [BTreeMap::new()];
                for set in if handle.baseline { &plain[..] } else { &combinations[..] } {
                    all.push(Setting { handle, size, senders, receivers, set: set.clone() });
                }
            }
        }
    }
    if let (true, Some(skip)) = (all.iter().all(|setting| setting.handle.baseline), skipped.last()) {
        bail!("there is nothing to measure: {}", skip.reason);
    }
    Ok(all)
}

/// Every combination of the values on the axes; one empty one without axes.
fn axes(axes: &BTreeMap<String, Vec<usize>>) -> Vec<BTreeMap<String, usize>> {
    axes.iter().fold(vec![BTreeMap::new()], |all, (knob, values)| {
        let with = |set: &BTreeMap<String, usize>, value| {
            let mut set = set.clone();
            set.insert(knob.clone(), value);
            set
        };
        all.iter().flat_map(|set| values.iter().map(|&value| with(set, value)).collect::<Vec<_>>()).collect()
    })
}

impl Setting<'_> {
    /// Whether the lab can be put under a load of this kind, in this shape.
    pub(super) fn bears(&self, load: LoadKind) -> bool {
        trial::check_shape(self.handle, load, self.senders, self.receivers).is_ok()
            && !(self.handle.baseline && load == LoadKind::Drain)
    }

    pub(super) fn cell(&self, load: &Load, part_of: Option<Part>) -> BenchmarkCase {
        let entry = &self.handle.entry;
        let label = load.label().replace("/s", "ps").replace(' ', "-");
        let id = |name: &str, set: &BTreeMap<String, usize>| {
            let mut id = format!("{name}.{}B.{}x{}", self.size, self.senders, self.receivers);
            for (knob, value) in set {
                id.push_str(&format!(".{knob}-{value}"));
            }
            match part_of {
                Some(Part::Capacity) => id.push_str(".capacity"),
                Some(Part::Sweep) => id.push_str(".sweep"),
                None => {}
            }
            format!("{id}.{label}")
        };
        let weaker = entry.weaker(&self.set);
        BenchmarkCase {
            id: id(&entry.name, &self.set),
            lab: entry.name.clone(),
            pattern: if self.handle.baseline { FLOOR.to_owned() } else { entry.pattern.to_string() },
            transport: entry.transport.to_owned(),
            variant: entry.variant.map(str::to_owned),
            guarantee: weaker.as_ref().map_or(entry.guarantee, |(guarantee, _)| *guarantee).to_string(),
            guarantee_note: weaker.map(|(_, why)| why),
            overload: entry.overload.to_string(),
            broker: entry.broker.map(|broker| broker.to_string()),
            source: entry.source.clone(),
            size: self.size,
            senders: self.senders,
            receivers: self.receivers,
            load: load.clone(),
            knobs: BTreeMap::new(),
            set: self.set.clone(),
            part_of,
            trials: Vec::new(),
            summary: None,
            floor: baseline::of_lab(entry)
                .filter(|_| !self.handle.baseline && part_of.is_none())
                .map(|name| id(&name, &BTreeMap::new())),
        }
    }

    pub(super) fn subject(&self) -> Subject {
        let entry = &self.handle.entry;
        Subject {
            lab: entry.name.clone(),
            pattern: entry.pattern.to_string(),
            guarantee: entry.guarantee.to_string(),
            size: self.size,
            senders: self.senders,
            receivers: self.receivers,
            set: self.set.clone(),
        }
    }
}

/// The baselines of these labs. Baselines have one sender and one receiver.
pub(super) fn baselines(plan: &Plan, labs: &[Handle]) -> Vec<Handle> {
    let mut names: BTreeSet<String> = labs.iter().filter_map(|lab| baseline::of_lab(&lab.entry)).collect();
    // Between hosts, what one clock times is measured beside what two clocks do. Where a lab's peers
    // reach each other, so do those of a baseline; over a broker alone nobody has to.
    if !plan.launch.is_empty() && labs.iter().any(|lab| lab.entry.broker.is_none()) {
        names.insert(ECHO.to_owned());
    }
    let plain = plan.loads.iter().any(|load| matches!(load.kind, LoadKind::Max | LoadKind::Rate));
    let wanted = plan.floor && plain && plan.senders == [1] && plan.receivers == [1];
    baseline::handles()
        .into_iter()
        .filter(|baseline| wanted && names.contains(&baseline.entry.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan, roles};

    fn of(labs: &[&str], change: impl FnOnce(&mut Plan)) -> Result<(Vec<String>, Vec<Skipped>)> {
        let mut plan = plan::load("quick")?;
        plan.loads.truncate(1);
        plan.labs = labs.iter().map(|lab| (*lab).to_owned()).collect();
        change(&mut plan);
        let handles = plan::select(&roles::handles(), &plan.labs)?;
        let mut skipped = Vec::new();
        let settings = settings(&handles, &plan, &mut skipped)?;
        Ok((settings.iter().map(|setting| setting.cell(&plan.loads[0], None).id).collect(), skipped))
    }

    #[test]
    fn every_combination_of_the_axes_is_a_cell() {
        let (cells, skipped) = of(&["queue-redis"], |plan| {
            plan.receivers = vec![1, 4];
            plan.axes.insert("prefetch".to_owned(), vec![1, 256]);
            plan.axes.insert("runtime-threads".to_owned(), vec![0, 2]);
        })
        .expect("settings");
        assert_eq!(cells.len(), 8);
        assert_eq!(cells[0], "queue-redis.64B.1x1.prefetch-1.runtime-threads-0.max");
        assert_eq!(cells[7], "queue-redis.64B.1x4.prefetch-256.runtime-threads-2.max");
        assert!(skipped.is_empty());
    }

    #[test]
    fn a_shape_that_a_lab_does_not_have_is_left_out_and_noted() {
        let (cells, skipped) =
            of(&["oneway-tcp", "pubsub-redis"], |plan| plan.receivers = vec![1, 2]).expect("settings");
        assert_eq!(cells, ["oneway-tcp.64B.1x1.max", "pubsub-redis.64B.1x1.max", "pubsub-redis.64B.1x2.max"]);
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].lab == "oneway-tcp" && skipped[0].reason.contains("1 receiver, not 2"));
        let error = of(&["oneway-tcp"], |plan| plan.receivers = vec![2]).expect_err("nothing is left");
        assert!(error.to_string().contains("1 receiver, not 2"), "{error}");
    }

    #[test]
    fn only_what_stores_can_be_drained() {
        let drain = |plan: &mut Plan| plan.loads = vec![plan::parse_load("drain", None).expect("a load")];
        let (cells, skipped) = of(&["queue-redis", "queue-zeromq", "pubsub-redis"], drain).expect("settings");
        assert_eq!(cells, ["queue-redis.64B.1x1.drain-20000"]);
        assert_eq!(skipped.len(), 2);
    }
}
