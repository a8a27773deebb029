//! Flags beside the figures that they concern. One that most rows carry tells no two of them apart:
//! it is said once, above all tables.

use serde::Serialize;

use super::super::{cases, number};
use crate::results::{BenchmarkCase, Flag, Run};

/// All flags, gravest first.
const ALL: [Flag; 9] = [
    Flag::BrokenPromise,
    Flag::NegativeLatency,
    Flag::UncertainClock,
    Flag::HarnessCpu,
    Flag::GeneratorLimited,
    Flag::SentBefore,
    Flag::Unsteady,
    Flag::TooFewSamples,
    Flag::NoisyMachine,
];

/// A flag beside a figure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Chip {
    name: &'static str,
    about: String,
    /// Whether it says that something is wrong with the lab.
    bad: bool,
}

impl Chip {
    fn of(flag: Flag, cell: &BenchmarkCase) -> Self {
        let good = cell.good_trials();
        let with = cell.trials.iter().filter(|trial| trial.failed.is_none());
        let with = with.filter(|trial| cases::trial_flags(cell, trial).contains(&flag));
        let with: Vec<String> = with.map(|trial| trial.number().to_string()).collect();
        // Some flags are of all trials together.
        let which = match with.as_slice() {
            [one] if good > 1 => format!(" In trial {one} of {good}."),
            [_, _, ..] if with.len() < good => format!(" In trials {} of {good}.", with.join(", ")),
            _ => String::new(),
        };
        Self { name: flag.as_str(), about: about(flag).to_owned() + &which, bad: flag == Flag::BrokenPromise }
    }
}

/// A flag with its rule, for the list of all.
#[derive(Serialize)]
pub(super) struct Explained {
    name: &'static str,
    about: &'static str,
    rule: &'static str,
    raised: bool,
}

/// What a flag means for the reader of a figure.
const fn about(flag: Flag) -> &'static str {
    match flag {
        Flag::BrokenPromise => {
            "Confirmed messages were lost, although the lab promises that none is: the lab, its broker or this program is at fault."
        }
        Flag::HarnessCpu => {
            "The measuring program itself used much of the CPU time: the lab can do more than this."
        }
        Flag::GeneratorLimited => {
            "The load generator sent late, and not the load that was asked for: this time is more the generator's than the lab's."
        }
        Flag::SentBefore => {
            "Most of these messages had been sent before the measured time: this is how fast stored messages were consumed, and the senders' CPU time is not the cost of these messages. Measure longer."
        }
        Flag::Unsteady => {
            "The first and the second half of the measured time differ much: the next run may give another figure."
        }
        Flag::TooFewSamples => "Too few messages to say what 1 in 100 of them takes. Measure longer.",
        Flag::NegativeLatency => {
            "By the clock, a message was received before it was sent: do not trust the times."
        }
        Flag::UncertainClock => {
            "Sender and receiver ran on hosts whose clocks could not be compared well enough: the times are withheld."
        }
        Flag::NoisyMachine => "Other programs, or the hypervisor, took CPU time while this was measured.",
    }
}

/// When it is raised.
const fn rule(flag: Flag) -> &'static str {
    match flag {
        Flag::BrokenPromise => "confirmed messages lost > 0, for at-least-once and durable",
        Flag::HarnessCpu => {
            "at maximum load, more than 20 % of the CPU time of the trial is the harness's own"
        }
        Flag::GeneratorLimited => {
            "at a rate, p99 of lag is more than half of p99 of the response and more than one gap between messages; or the generator cannot offer twice the rate to a transport that does nothing"
        }
        Flag::SentBefore => {
            "at maximum load, fewer than half as many messages were sent in the measured time as were received in it"
        }
        Flag::Unsteady => "the two halves differ by more than 20 % of the whole",
        Flag::TooFewSamples => "fewer than 1 000 samples at a rate",
        Flag::NegativeLatency => "one such message is enough",
        Flag::UncertainClock => "the bound of the clocks is more than a tenth of p50",
        Flag::NoisyMachine => {
            "others used more than 10 % of the CPU time, the hypervisor more than 2 %, or (at a rate) an idle thread overslept by more than 2 ms at p99"
        }
    }
}

/// What is known of the slowest messages alone; a machine that is busy for a moment moves these first.
fn of_the_tail(flag: Flag) -> bool {
    matches!(flag, Flag::TooFewSamples | Flag::NoisyMachine)
}

/// Which flags are said once for the run, and so not beside each figure.
pub(super) struct Flags {
    common: Vec<(Flag, usize)>,
    cases: usize,
}

impl Flags {
    /// A flag is common when more than half of the cases have it.
    pub(super) fn of(run: &Run) -> Self {
        let cases: Vec<&BenchmarkCase> =
            run.cells.iter().filter(|cell| !cell.is_floor() && cell.summary.is_some()).collect();
        let count = |flag| cases.iter().filter(|cell| cases::flags(cell).contains(&flag)).count();
        // A broken promise is never one of many.
        let common = ALL.into_iter().filter(|flag| *flag != Flag::BrokenPromise);
        let common = common
            .map(|flag| (flag, count(flag)))
            .filter(|(_, with)| cases.len() > 2 && with * 2 > cases.len());
        Self { common: common.collect(), cases: cases.len() }
    }

    /// What is said once: `noisy-machine, on 118 of 122 cases: …`.
    pub(super) fn banners(&self) -> Vec<String> {
        let banner = |(flag, with): &(Flag, usize)| {
            format!(
                "{} ({} of {} cases): {}",
                flag.as_str(),
                number::count(*with as u64),
                number::count(self.cases as u64),
                about(*flag)
            )
        };
        self.common.iter().map(banner).collect()
    }

    /// Those of a case that stand beside its figures.
    pub(super) fn beside(&self, cell: &BenchmarkCase) -> Vec<Chip> {
        self.filtered(cell, |_| true)
    }

    /// The names of those, for a sentence.
    pub(super) fn names(&self, cell: &BenchmarkCase) -> Vec<&'static str> {
        self.beside(cell).iter().map(|chip| chip.name).collect()
    }

    /// Those that concern its p99 alone.
    pub(super) fn beside_p99(&self, cell: &BenchmarkCase) -> Vec<Chip> {
        self.filtered(cell, of_the_tail)
    }

    /// Those that concern all of its response times.
    pub(super) fn beside_times(&self, cell: &BenchmarkCase) -> Vec<Chip> {
        self.filtered(cell, |flag| !of_the_tail(flag))
    }

    fn filtered(&self, cell: &BenchmarkCase, wanted: impl Fn(Flag) -> bool) -> Vec<Chip> {
        let is_common = |flag: &Flag| self.common.iter().any(|(common, _)| common == flag);
        let raised = cases::flags(cell);
        // Gravest first.
        let flags = ALL.into_iter().filter(|flag| raised.contains(flag) && !is_common(flag) && wanted(*flag));
        flags.map(|flag| Chip::of(flag, cell)).collect()
    }

    /// Every flag with its rule.
    pub(super) fn explained(run: &Run) -> Vec<Explained> {
        let is_raised = |flag| run.cells.iter().any(|cell| cases::flags(cell).contains(&flag));
        let explained = |flag| Explained {
            name: Flag::as_str(flag),
            about: about(flag),
            rule: rule(flag),
            raised: is_raised(flag),
        };
        ALL.into_iter().map(explained).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::build;
    use super::*;

    #[test]
    fn a_flag_of_most_cases_is_said_once() {
        let mut run = build::run();
        for (at, flags) in [
            &[Flag::NoisyMachine, Flag::Unsteady][..],
            &[Flag::NoisyMachine],
            &[Flag::NoisyMachine, Flag::BrokenPromise],
            &[Flag::BrokenPromise],
        ]
        .into_iter()
        .enumerate()
        {
            let mut cell = build::plain("oneway-tcp");
            cell.id = at.to_string();
            cell.summary.as_mut().expect("a summary").flags = flags.to_vec();
            run.cells.push(cell);
        }
        let flags = Flags::of(&run);
        assert_eq!(flags.banners().len(), 1);
        assert!(flags.banners()[0].starts_with("noisy-machine (3 of 4 cases): "), "{:?}", flags.banners());
        assert_eq!(flags.names(&run.cells[0]), ["unsteady"]);
        assert!(flags.names(&run.cells[1]).is_empty());
        assert_eq!(flags.names(&run.cells[2]), ["broken-promise"]);
    }
}
