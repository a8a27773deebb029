//! The answer in words: for each pattern and guarantee, what is fastest, what has the lowest tail,
//! what costs least, what was lost, and which differences are within noise.

use std::cmp::Ordering;

use serde::Serialize;

use super::super::cases::{self, Figure, Promises};
use super::super::figures::Figures;
use super::super::model::{Comparison, setting, short_name};
use super::super::number;
use super::account::{self, Accounted};
use super::flag::{Chip, Flags};
use super::promise;
use crate::results::{BenchmarkCase, LoadKind, Run};

#[derive(Serialize)]
pub(super) struct Words {
    /// What was measured, as a reminder.
    measured: String,
    /// How sure it is.
    sure: String,
    /// What became of all messages.
    account: String,
    /// Where verdicts under faults come from, or how to get some.
    faults: String,
    has_faults: bool,
    /// Their names.
    fault_names: String,
    /// Whether rows have settings of their own.
    has_setting: bool,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    pattern: String,
    title: String,
    guarantee: String,
    setting: String,
    labs: String,
    fastest: Option<Claim>,
    lowest: Option<Claim>,
    cheapest: Option<Claim>,
    /// What was lost, duplicated, reordered or corrupt, if anything was.
    amiss: Option<String>,
}

/// The best of a group in one respect.
#[derive(Serialize)]
struct Claim {
    lab: String,
    short: String,
    /// That it needs no broker, where others of its group do.
    no_broker: bool,
    figure: String,
    promise: Option<promise::Shown>,
    /// Why the figure is not to be believed as it stands.
    flags: Vec<Chip>,
    /// How far ahead it is, or that nobody can tell.
    margin: String,
}

/// A respect in which labs are compared.
struct Respect {
    kind: LoadKind,
    figure: Figure,
    /// What the report says of a case.
    value: fn(&BenchmarkCase) -> Option<f64>,
    text: fn(f64) -> String,
}

const SPEED: Respect = Respect {
    kind: LoadKind::Max,
    figure: Figure::Throughput,
    value: |cell| Some(cell.summary.as_ref()?.throughput_per_s.median),
    text: |value| format!("{}/s", number::short(value)),
};

const TAIL: Respect = Respect {
    kind: LoadKind::Rate,
    figure: Figure::P99,
    value: |cell| cell.summary.as_ref()?.response_ns.p99.map(|ns| ns as f64),
    text: number::time,
};

const COST: Respect =
    Respect { kind: LoadKind::Max, figure: Figure::Cpu, value: cases::cpu, text: number::time };

/// `None` for a run without figures at maximum load or at a rate.
pub(super) fn words(
    run: &Run,
    comparisons: &[Comparison<'_>],
    known: &Figures,
    promises: &Promises,
    flags: &Flags,
) -> Option<Words> {
    let mut rows: Vec<Row> = Vec::new();
    let mut rates: Vec<String> = Vec::new();
    let mut patterns: Vec<&str> = comparisons.iter().map(|comparison| comparison.pattern).collect();
    patterns.dedup();
    for pattern in patterns {
        // The smallest setting speaks for the pattern.
        let mut own = comparisons
            .iter()
            .filter(|all| all.pattern == pattern && matches!(all.kind(), LoadKind::Max | LoadKind::Rate));
        let Some(first) = own.next() else { continue };
        let same = |kind: LoadKind| {
            let fits = |all: &&Comparison<'_>| {
                all.pattern == pattern && all.kind() == kind && all.setting() == first.setting()
            };
            comparisons.iter().find(fits)
        };
        let (max, rate) = (same(LoadKind::Max), same(LoadKind::Rate));
        rates.extend(rate.map(Comparison::load_text));
        let mut guarantees: Vec<&str> = Vec::new();
        for (guarantee, _) in [max, rate].into_iter().flatten().flat_map(Comparison::by_guarantee) {
            if !guarantees.contains(&guarantee) {
                guarantees.push(guarantee);
            }
        }
        for guarantee in guarantees {
            let of = |kind| -> Vec<&BenchmarkCase> {
                let all = if kind == LoadKind::Max { max } else { rate };
                let all = all.into_iter().flat_map(Comparison::by_guarantee);
                all.filter(|(own, _)| *own == guarantee).flat_map(|(_, cells)| cells).collect()
            };
            let (at_max, at_rate) = (of(LoadKind::Max), of(LoadKind::Rate));
            let all: Vec<&BenchmarkCase> = at_max.iter().chain(&at_rate).copied().collect();
            let mut labs: Vec<&str> = all.iter().map(|cell| cell.lab.as_str()).collect();
            labs.sort_unstable();
            labs.dedup();
            let claim = |respect: &Respect| {
                let cells = if respect.kind == LoadKind::Max { &at_max } else { &at_rate };
                claim(cells, respect, known, promises, flags)
            };
            rows.push(Row {
                pattern: pattern.to_owned(),
                title: super::super::model::pattern_title(pattern).to_owned(),
                guarantee: guarantee.to_owned(),
                setting: all.first().map(|cell| setting(cell)).unwrap_or_default(),
                labs: number::plural(labs.len(), "lab", "labs"),
                fastest: claim(&SPEED),
                lowest: claim(&TAIL),
                cheapest: claim(&COST),
                amiss: account::amiss(&accounted(&all)),
            });
        }
    }
    let first = rows.first()?;
    let has_setting = rows.iter().any(|row| row.setting != first.setting);
    rates.dedup();
    let all: Vec<&BenchmarkCase> = comparisons.iter().flat_map(|all| all.cells.iter().copied()).collect();
    Some(Words {
        measured: measured(run, (!has_setting).then_some(first.setting.as_str()), &rates, comparisons),
        sure: sure(run),
        account: account::sentence(&accounted(&all)),
        faults: faults(promises),
        has_faults: !promises.folders().is_empty(),
        fault_names: account::listed(&promises.faults(), "and"),
        has_setting,
        rows,
    })
}

fn accounted<'a>(cells: &[&'a BenchmarkCase]) -> Vec<Accounted<'a>> {
    cells.iter().filter_map(|cell| Some((*cell, &cell.summary.as_ref()?.counts))).collect()
}

/// `Measured: messages of 64 B, 1 → 1 (senders → receivers), …`.
fn measured(run: &Run, setting: Option<&str>, rates: &[String], comparisons: &[Comparison<'_>]) -> String {
    let setting = setting.map_or_else(
        || "the setting that each row names".to_owned(),
        |setting| format!("messages of {setting} (senders → receivers)"),
    );
    let rates: Vec<&str> = rates.iter().map(String::as_str).collect();
    let rates =
        if rates.is_empty() { String::new() } else { format!(", p99 at {}", account::listed(&rates, "and")) };
    let mut settings: Vec<String> = comparisons.iter().map(Comparison::setting).collect();
    settings.sort();
    settings.dedup();
    let more = if settings.len() > 1 { " The tables below have all settings." } else { "" };
    let host = format!("{}, {} × {}", run.host.name, run.host.cores, run.host.cpu);
    let place = if run.plan.launch.is_empty() {
        format!("on one machine ({host}), all traffic on its loopback")
    } else {
        format!("from {host}, with roles started elsewhere, as drawn below Machine and plan")
    };
    format!(
        "Measured: {setting}{rates}, {place}. Other sizes, numbers and machines give other figures, and may \
         give another order.{more}"
    )
}

/// How far the figures are to be trusted.
fn sure(run: &Run) -> String {
    let trials = match run.plan.trials {
        1 => "One trial of each: no difference can be told from noise".to_owned(),
        trials => format!(
            "{trials} trials of {} s each{}. “Within noise”: the 95\u{202f}% interval of the ratio includes 1",
            run.plan.seconds,
            if trials < 6 { ", so few that an interval is about the range of the trials" } else { "" }
        ),
    };
    match (&run.widening, run.plan.trials) {
        (Some(widening), 2..) => {
            format!(
                "{trials}; it is made {} wider for how runs of this machine differ.",
                number::wider(widening.factor)
            )
        }
        (None, 2..) => format!(
            "{trials}. It holds for this run: how much runs differ from each other, `{}` tells.",
            crate::hint::command(&["agree", "DIR", "DIR"])
        ),
        _ => format!("{trials}."),
    }
}

fn faults(promises: &Promises) -> String {
    let folders = promises.folders();
    match folders.as_slice() {
        [] => format!(
            "Whether labs keep their promise under faults is not known here: no runs of `{}` are in this \
             folder of results.",
            crate::hint::command(&["break"])
        ),
        folders => {
            let names: Vec<&str> = folders
                .iter()
                .map(|folder| {
                    folder.rsplit('/').next().filter(|name| *name != ".").unwrap_or("this result set")
                })
                .collect();
            format!(
                "✓ 9/9: the lab kept its promise under 9 of 9 faults that the promise covers (a killed \
                 receiver, a cut link, a restarted broker …), by {}. Faults that cannot hit a lab do not count: one \
                 without a broker has fewer.",
                account::listed(&names, "and")
            )
        }
    }
}

/// The best in one respect; nothing where nobody has a figure.
fn claim(
    cells: &[&BenchmarkCase],
    respect: &Respect,
    known: &Figures,
    promises: &Promises,
    flags: &Flags,
) -> Option<Claim> {
    let mut measured: Vec<(&BenchmarkCase, f64)> =
        cells.iter().filter_map(|cell| Some((*cell, (respect.value)(cell)?))).collect();
    measured.sort_by(
        |a, b| if respect.figure.more_is_better() { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) },
    );
    let (best, value) = *measured.first()?;
    let mut figure = (respect.text)(value);
    if respect.figure == Figure::Throughput
        && let Some(cpu) = cases::cpu(best)
    {
        figure += &format!(" at {} CPU", number::time(cpu));
    }
    Some(Claim {
        lab: best.lab.clone(),
        short: short_name(best).to_owned(),
        no_broker: best.broker.is_none() && cells.iter().any(|cell| cell.broker.is_some()),
        figure,
        promise: promise::shown(promises.of(best)),
        flags: flags.beside(best),
        margin: margin(best, &measured[1..], respect, known, flags),
    })
}

/// How far the best is ahead of the others: those within noise by name, then the next, each with what
/// is wrong with its figure.
fn margin(
    best: &BenchmarkCase,
    others: &[(&BenchmarkCase, f64)],
    respect: &Respect,
    known: &Figures,
    flags: &Flags,
) -> String {
    if others.is_empty() {
        return "the only one".to_owned();
    }
    if best.good_trials() < 2 {
        return "one trial: cannot tell".to_owned();
    }
    let more = respect.figure.more_is_better();
    let named = |cell: &BenchmarkCase| match flags.names(cell).as_slice() {
        [] => short_name(cell).to_owned(),
        flags => format!("{} ({})", short_name(cell), flags.join(", ")),
    };
    let (mut within, mut next) = (Vec::new(), None);
    for (other, _) in others {
        let more_by_less = if more { [best, other] } else { [other, best] };
        match known.ratio(more_by_less, respect.figure) {
            Some(ratio) if cases::apart(&ratio) == Some(Ordering::Greater) => {
                next.get_or_insert((*other, ratio));
            }
            _ => within.push(named(other)),
        }
    }
    let mut parts = Vec::new();
    match within.as_slice() {
        [] => {}
        few if few.len() <= 3 => {
            let few: Vec<&str> = few.iter().map(String::as_str).collect();
            parts.push(format!("within noise: {}", account::listed(&few, "and")));
        }
        many => parts.push(format!("within noise: {} and {} more", many[..2].join(", "), many.len() - 2)),
    }
    if let Some((other, ratio)) = next {
        let text = number::ratio_with_interval(&ratio) + "\u{a0}×";
        parts.push(match more {
            true => format!("{text} {}", named(other)),
            false => format!("{} takes {text}", named(other)),
        });
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::super::model::comparisons;
    use super::super::super::tests::build;
    use super::*;
    use crate::results::{Arrivals, Flag, Load, Widening};

    fn said(change: impl FnOnce(&mut Run)) -> Words {
        let mut run = build::run();
        for (lab, speed) in [("queue-slow", 5e5), ("queue-fast", 1.005e6), ("queue-near", 1e6)] {
            run.cells.push(build::measured(lab, Load::max(), speed));
            run.cells.push(build::measured(lab, Load::rate(1_000.0, Arrivals::Constant), 1e11 / speed));
        }
        change(&mut run);
        words(&run, &comparisons(&run), &build::figures(&run, 1), &Promises::default(), &Flags::of(&run))
            .expect("there are figures")
    }

    #[test]
    fn the_best_is_named_with_those_that_are_as_good_and_the_next() {
        let words = said(|_| {});
        let [row] = &words.rows[..] else { panic!("one pattern and guarantee") };
        let claim = |claim: &Option<Claim>| {
            let claim = claim.as_ref().expect("a claim");
            (claim.short.clone(), claim.margin.replace('\u{202f}', " "))
        };
        let (fastest, margin) = claim(&row.fastest);
        assert_eq!(fastest, "fast");
        assert!(
            margin.starts_with("within noise: near; 2.0") && margin.ends_with("]\u{a0}× slow"),
            "{margin}"
        );
        let (lowest, margin) = claim(&row.lowest);
        assert_eq!(lowest, "fast");
        assert!(margin.starts_with("within noise: near; slow takes 2.0"), "{margin}");
        assert_eq!(row.labs, "3 labs");
        assert!(words.measured.contains("64\u{202f}B, 1 → 1") && words.measured.contains("1\u{202f}000/s"));
        assert!(words.account.starts_with("Nothing was lost"), "{}", words.account);
    }

    #[test]
    fn noise_between_runs_counts_and_one_trial_says_nothing() {
        let wide = said(|run| run.widening = Some(Widening { factor: 60.0, ..Widening::default() }));
        let margin = |words: &Words| words.rows[0].fastest.as_ref().expect("a claim").margin.clone();
        assert_eq!(margin(&wide), "within noise: near and slow");
        let flagged = said(|run| {
            let near = run.cells.iter_mut().filter(|cell| cell.lab == "queue-near");
            near.filter_map(|cell| cell.summary.as_mut())
                .for_each(|summary| summary.flags.push(Flag::Unsteady));
        });
        assert!(margin(&flagged).starts_with("within noise: near (unsteady); "), "{}", margin(&flagged));
        let one = said(|run| {
            run.plan.trials = 1;
            run.cells.iter_mut().for_each(|cell| cell.trials.truncate(1));
        });
        assert_eq!(margin(&one), "one trial: cannot tell");
        assert!(one.sure.contains("no difference can be told"), "{}", one.sure);
    }
}
