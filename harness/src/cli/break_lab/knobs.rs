//! The knobs that are set on the command line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::roles::Handle;
use crate::{plan, units};

/// The knobs that are set from outside.
pub(in crate::cli) fn knobs(set: &[String], wanted: &[Handle]) -> Result<BTreeMap<String, usize>> {
    let labs = || wanted.iter().map(|handle| &handle.entry);
    let mut known = plan::knobs_of_labs(labs());
    known.extend(plan::knobs_of_loops(labs()));
    let read = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .with_context(|| format!("`{text}` is not KNOB=VALUE, as in `delivery-mode=1`"))?;
        plan::check_knobs([name], &known, labs().next())?;
        Ok((name.to_owned(), units::knob(name, value)?))
    };
    set.iter().map(read).collect()
}
