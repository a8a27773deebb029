//! The index of the published result sets in a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::model::{Comparison, comparisons, pattern_title};
use super::{number, render};
use crate::results::{self, FAULTS, FaultSet, Host, RUN, ResultSet, Run, Verdict, private};

/// How an index begins.
const TITLE: &str = "# Results\n";

#[derive(Serialize)]
struct Entry {
    link: String,
    date: String,
    name: String,
    host: String,
    labs: usize,
    unfinished: bool,
    report: bool,
    headlines: Vec<String>,
}

#[derive(Serialize)]
struct Damaged {
    link: String,
    reason: String,
}

#[derive(Serialize)]
struct Index {
    runs: Vec<Entry>,
    fault_sets: Vec<FaultEntry>,
    damaged: Vec<Damaged>,
}

/// A folder with runs under faults.
#[derive(Serialize)]
struct FaultEntry {
    link: String,
    host: String,
    labs: usize,
    runs: usize,
    /// How many of them broke a promise.
    broke: usize,
}

/// Writes `README.md` in `results_dir`: every published result set below it, newest first, with
/// its headline numbers. A damaged one is listed as that, with the reason. The path of the
/// index.
///
/// # Errors
/// When the folder cannot be read, the index cannot be written, or there is a
/// `README.md` that is not an index.
pub fn index(results_dir: &Path) -> Result<PathBuf> {
    let path = results_dir.join("README.md");
    let other = fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(TITLE));
    ensure!(
        !other,
        "{} is not an index of results, so it was not changed; move the result sets into a folder of their \
         own",
        path.display()
    );
    let found = results::find(results_dir, &[RUN, FAULTS], |path| !private::is_private(path))
        .with_context(|| format!("cannot read the results folder {}", results_dir.display()))?;
    let (mut runs, mut fault_sets, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    for dir in found {
        let link = render::address(dir.strip_prefix(results_dir).unwrap_or(&dir));
        if dir.join(FAULTS).exists() {
            match FaultSet::open(&dir) {
                Ok(set) => fault_sets.push(fault_entry(link.clone(), &set)),
                Err(error) => {
                    damaged.push(Damaged { link: link.clone(), reason: format!("{error:#}") });
                }
            }
        }
        if !dir.join(RUN).exists() {
            continue;
        }
        match ResultSet::open(&dir) {
            Ok((_, run)) => runs.push((instant(&run), entry(link, &dir, &run))),
            Err(error) => damaged.push(Damaged { link, reason: format!("{error:#}") }),
        }
    }
    runs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.link.cmp(&b.1.link)));
    let runs: Vec<Entry> = runs.into_iter().map(|(_, entry)| entry).collect();
    fault_sets.sort_by(|a, b| b.link.cmp(&a.link));
    damaged.sort_by(|a, b| a.link.cmp(&b.link));
    let template = include_str!("templates/index.md");
    let text = render::render("README.md", template, Index { runs, fault_sets, damaged })?;
    write(results_dir, &path, &text)?;
    Ok(path)
}

/// Replaces the index atomically.
fn write(dir: &Path, path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.persist(path)?;
        Ok(())
    };
    attempt()
        .with_context(|| format!("cannot write {}; check its folder's permissions and space", path.display()))
}

fn fault_entry(link: String, set: &FaultSet) -> FaultEntry {
    let labs: BTreeSet<&str> = set.runs.iter().map(|run| run.lab.as_str()).collect();
    FaultEntry {
        link,
        host: machine(&set.host),
        labs: labs.len(),
        runs: set.runs.len(),
        broke: set.runs.iter().filter(|run| run.verdict == Verdict::Broke).count(),
    }
}

fn machine(host: &Host) -> String {
    format!("{}, {} × {}", host.name, host.cores, host.cpu)
}

/// When a run began, to sort by; one that cannot be read is the oldest.
fn instant(run: &Run) -> i128 {
    run.created.parse::<jiff::Timestamp>().map_or(i128::MIN, |time| time.as_nanosecond())
}

fn entry(link: String, dir: &Path, run: &Run) -> Entry {
    let cells = run.cells.iter().filter(|cell| !cell.is_floor());
    let mut labs: Vec<&str> = cells.map(|cell| cell.lab.as_str()).collect();
    labs.sort_unstable();
    labs.dedup();
    Entry {
        link,
        date: run.created.chars().take(10).collect(),
        name: run.name.clone(),
        host: machine(&run.host),
        labs: labs.len(),
        unfinished: !run.complete,
        report: dir.join("report.html").exists(),
        headlines: comparisons(run)
            .iter()
            .filter(|comparison| comparison.is_max())
            .flat_map(headlines)
            .collect(),
    }
}

/// For each guarantee, from the slowest to the fastest, and the number of lost messages:
/// `One-way at-most-once 43.1 k – 9.12 M/s, lost 0`.
fn headlines(comparison: &Comparison<'_>) -> Vec<String> {
    let groups = comparison.by_guarantee().into_iter();
    groups
        .filter_map(|(guarantee, cells)| {
            let good: Vec<_> = cells.iter().filter_map(|cell| cell.summary.as_ref()).collect();
            let speeds = || good.iter().map(|summary| summary.throughput_per_s.median);
            let (least, most) = (speeds().fold(f64::MAX, f64::min), speeds().fold(0.0, f64::max));
            let lost = number::total(good.iter().map(|summary| summary.counts.lost));
            let range = match good.len() {
                0 => return None,
                1 => number::short(most),
                _ => format!("{} – {}", number::short(least), number::short(most)),
            };
            let title = pattern_title(comparison.pattern);
            Some(format!("{title}, {guarantee}: {range}/s, lost {}", number::count(lost)))
        })
        .collect()
}
