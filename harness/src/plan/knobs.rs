//! Refuses knobs that nothing reads.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use labs::catalog::{self, Entry, Pattern};

use super::select::nearest;
use crate::roles;

/// The names of the knobs of these labs. A pipeline's control channel is a lab of its own.
pub fn of_labs<'a>(chosen: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<&'static str> {
    let all = catalog::entries();
    let mut known = BTreeSet::new();
    for lab in chosen {
        let control = format!("{}-{}", Pattern::PubSub, lab.transport);
        let control = all.iter().filter(|other| lab.pattern == Pattern::Pipeline && other.name == control);
        known.extend(control.chain([lab]).flat_map(|lab| lab.knobs).map(|knob| knob.name));
    }
    known
}

/// The names of the knobs of the loops that measure these labs.
pub fn of_loops<'a>(chosen: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<&'static str> {
    chosen.into_iter().flat_map(|lab| roles::knobs(lab.pattern)).map(|knob| knob.name).collect()
}

/// Refuses a name that is not a known knob, with the nearest one; `lab` is one of the chosen.
pub fn check_knobs<'a>(
    names: impl IntoIterator<Item = &'a str>,
    known: &BTreeSet<&'static str>,
    lab: Option<&Entry>,
) -> Result<()> {
    let Some(name) = names.into_iter().find(|name| !known.contains(name)) else { return Ok(()) };
    let near = nearest(name, known.iter().copied());
    let near = near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    let list = crate::hint::command(&["list", lab.map_or("LAB", |lab| &lab.name)]);
    bail!("no lab that was chosen has a knob `{name}`{near}; `{list}` shows the knobs of a lab")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_knob_that_no_chosen_lab_reads_is_refused_with_the_nearest() {
        let entries = catalog::entries();
        let lab = |name: &str| entries.iter().find(|lab| lab.name == name).expect("a lab");
        let known = of_labs([lab("oneway-redis")]);
        assert!(check_knobs(["batch"], &known, None).is_ok());
        for (name, expected) in [("bath", "did you mean `batch`?"), ("prefetch", "`prefetch`; "), ("", "``")]
        {
            let error = check_knobs([name], &known, None).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        // A pipeline has the knobs of its control channel, too.
        let control = lab("pubsub-nats").knobs.first().expect("a knob").name;
        assert!(of_labs([lab("pipeline-nats")]).contains(control));
        assert!(of_loops([lab("queue-redis")]).contains("prefetch"));
    }
}
