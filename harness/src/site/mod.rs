//! `lab site`: static pages over all result sets, machines and versions. A page needs nothing but
//! itself: no script, no font, no other host. Nothing here runs anything or changes a result set.
//!
//! What is in the pages follows from the folders alone: a new machine is a new folder.

mod folder;
mod labs;
mod look;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::report::{cases, render};
use crate::results::{FAULTS, RUN, SCENARIOS, find};
use folder::Folder;
pub use folder::MARK;
use look::Look;
use sets::Found;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The first page.
    pub index: PathBuf,
    /// Its size, bytes: what a reader loads first.
    pub index_bytes: usize,
    /// How many result sets of any kind are in it.
    pub sets: usize,
    /// How many machines.
    pub machines: usize,
    /// Result sets that are left out, with the reason.
    pub left_out: Vec<String>,
}

/// The first page.
#[derive(Serialize)]
struct Index<'a> {
    machines: Vec<Machine<'a>>,
    patterns: Vec<labs::OfPattern>,
    left_out: &'a [String],
    cases: usize,
    style: &'a str,
    policy: &'a str,
}

/// A machine, with its result sets.
#[derive(Serialize)]
struct Machine<'a> {
    name: String,
    sets: Vec<&'a sets::Listed>,
}

/// Writes the pages of all result sets below `results` into `out`, which is replaced as a whole: it
/// must not exist, be empty, or have nothing in it but what this wrote before. `progress` hears of each
/// result set, and says whether to go on; where not, everything is as it was and nothing is returned.
///
/// # Errors
/// When `results` cannot be read or has nothing, when `out` is something else, or a file cannot be
/// written; it is named. A damaged result set is left out, and named in the page.
pub fn write(results: &Path, out: &Path, mut progress: impl FnMut(&str) -> bool) -> Result<Option<Written>> {
    let folder = Folder::create(out)?;
    let dirs = find(results, &[RUN, FAULTS, SCENARIOS], |path| path.file_name() != Some(MARK.as_ref()))
        .with_context(|| format!("cannot read {}", results.display()))?;
    let look = Look::new();
    let mut found = Found::default();
    for dir in dirs {
        let below = dir.strip_prefix(results).unwrap_or(&dir);
        if !progress(&below.display().to_string()) {
            return Ok(None);
        }
        found.add(&dir, below, &folder, &look)?;
    }
    anyhow::ensure!(
        !found.listed.is_empty() || !found.left_out.is_empty(),
        "no folder in {} is a result set; `{}` makes one",
        results.display(),
        crate::hint::command(&["bench"])
    );
    let all: Vec<cases::Row> = found.measured.iter().flat_map(|set| set.rows.iter().cloned()).collect();
    folder.write("cases.csv", &cases::csv(&all)?)?;
    let patterns = labs::write(&found.measured, &folder, &look)?;
    let machines = machines(&found);
    let index = Index {
        patterns,
        left_out: &found.left_out,
        cases: all.len(),
        style: &look.style,
        policy: &look.policy,
        machines,
    };
    let text = render::render("index.html", include_str!("templates/index.html"), &index)?;
    folder.write("index.html", &text)?;
    let machines = index.machines.len();
    folder.finish()?;
    Ok(Some(Written {
        index: out.join("index.html"),
        index_bytes: text.len(),
        sets: found.listed.len(),
        machines,
        left_out: found.left_out,
    }))
}

/// The result sets of each machine, newest first; machines in the order of their names.
fn machines(found: &Found) -> Vec<Machine<'_>> {
    let mut machines: BTreeMap<&str, Vec<&sets::Listed>> = BTreeMap::new();
    for set in &found.listed {
        machines.entry(&set.machine).or_default().push(set);
    }
    machines
        .into_iter()
        .map(|(name, mut sets)| {
            sets.sort_by(|a, b| b.date.cmp(&a.date).then_with(|| b.name.cmp(&a.name)));
            Machine { name: name.to_owned(), sets }
        })
        .collect()
}
