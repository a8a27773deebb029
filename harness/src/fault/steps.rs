//! What is done when, in the order of its moments.

use super::name::What;
use super::plan::Injection;
use crate::measure::clock;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Since the common start, ns.
    pub(super) at: u64,
    /// Of which injection.
    pub(super) injection: usize,
    pub(super) act: Do,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Do {
    Begin,
    StartAgain,
    Heal,
}

/// The steps of all injections.
pub(super) fn steps(injections: &[Injection]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (injection, planned) in injections.iter().enumerate() {
        let begin = clock::seconds(planned.at_s);
        let mut add = |at, act| steps.push(Step { at, injection, act });
        add(begin, Do::Begin);
        let end = clock::seconds(planned.end_s());
        match planned.fault.what {
            What::Restart => add(end, Do::StartAgain),
            _ if planned.fault.has_length() => add(end, Do::Heal),
            _ => {}
        }
    }
    steps.sort_by_key(|step| (step.at, step.injection, step.act));
    steps
}
