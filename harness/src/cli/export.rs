//! `lab export`: the cases of result sets as one table.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use labs::topic::glob;

use crate::command::{Usage, usage};
use crate::compare::reproducibility;
use crate::hint;
use crate::plan;
use crate::report::cases::{self, Promises};
use crate::report::number;
use crate::results::{self, RUN, ResultSet, write_named};
use crate::roles::Handle;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Result folders, or folders with result sets in them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The form of the table
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only these labs: names, globs (quoted) or patterns; may be given several times
    #[arg(long, value_name = "LAB")]
    lab: Vec<String>,
    /// Write to this file instead of the standard output; a file that exists is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The form of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values with every figure in full precision, for programs and spreadsheets
    #[default]
    Csv,
    /// A table of Markdown with the figures that people compare
    Md,
    /// One array of objects, with what CSV has
    Json,
}

pub(super) fn main(args: &ExportArgs, handles: &[Handle]) -> Result<ExitCode> {
    let wanted = chosen(&args.lab, handles)?;
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in &args.dirs {
        for one in usage(below(dir))? {
            // One that was named twice, or is in a folder that was named, too.
            let same = |other: &PathBuf| other.canonicalize().ok() == one.canonicalize().ok();
            if !found.iter().any(same) {
                found.push(one);
            }
        }
    }
    let (mut rows, mut good, mut code) = (Vec::new(), 0, ExitCode::SUCCESS);
    for dir in &found {
        match of(dir) {
            Ok(of_set) => {
                good += 1;
                rows.extend(of_set);
            }
            // One damaged result set does not keep the others from being exported.
            Err(error) => {
                errln!("lab: not exported: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    if good == 0 {
        return Ok(code);
    }
    let all: BTreeSet<String> = rows.iter().map(|row: &cases::Row| row.lab.clone()).collect();
    rows.retain(|row| wanted(&row.lab));
    if rows.is_empty() {
        let all: Vec<String> = all.into_iter().collect();
        usage(Err(anyhow::anyhow!(Usage(format!(
            "no case of {} is of {}; there are cases of: {}",
            number::plural(good, "result set", "result sets"),
            args.lab.join(", "),
            if all.is_empty() { "no lab".to_owned() } else { all.join(", ") }
        )))))?;
    }
    let text = match args.format {
        Format::Csv => cases::csv(&rows)?,
        Format::Md => cases::markdown(&rows),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&rows)?),
    };
    match &args.out {
        None => outln!("{}", text.trim_end())?,
        Some(path) => {
            write_named(path, &text)?;
            errln!(
                "{} of {}: {}",
                number::plural(rows.len(), "row", "rows"),
                number::plural(good, "result set", "result sets"),
                path.display()
            );
        }
    }
    Ok(code)
}

/// The result sets of a folder that was named.
fn below(dir: &std::path::Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        bail!(Usage(format!(
            "there is no folder {}; `{}` writes result sets below results/",
            dir.display(),
            hint::command(&["bench"])
        )));
    }
    let found =
        results::find(dir, &[RUN], |_| true).with_context(|| format!("cannot read {}", dir.display()))?;
    if found.is_empty() {
        bail!(Usage(format!(
            "{} has no {RUN}, and no folder in it has one: there is nothing to export; for runs under faults \
             read faults.json, for scenarios scenarios.json",
            dir.display()
        )));
    }
    Ok(found)
}

fn of(dir: &std::path::Path) -> Result<Vec<cases::Row>> {
    let (result_set, run) = ResultSet::open(dir)?;
    reproducibility::verify(&result_set, &run)?;
    Ok(cases::rows(&run, &Promises::beside(dir)))
}

/// Whether a lab was asked for; all of them where none was named.
pub(super) fn chosen(names: &[String], handles: &[Handle]) -> Result<impl Fn(&str) -> bool> {
    // A lab that is no longer in the catalog may still be in a result set: globs match those, too.
    let chosen = match names.iter().all(|name| name.contains('*')) {
        true => Vec::new(),
        false => usage(plan::select(handles, names))?,
    };
    let chosen: Vec<String> = chosen.iter().map(|handle| handle.entry.name.to_string()).collect();
    let names = names.to_vec();
    Ok(move |lab: &str| {
        names.is_empty()
            || names.iter().any(|want| glob(want, lab))
            || chosen.iter().any(|known| known == lab)
    })
}
