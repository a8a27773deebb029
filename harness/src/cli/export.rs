//! `lab export`: the cases of result sets as one table.

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
use crate::results::{self, RUN, ResultSet, write_file};
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
    /// Write to this file instead of the standard output; replaced as a whole
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
    let mut found = Vec::new();
    for dir in &args.dirs {
        found.extend(usage(below(dir))?);
    }
    let (mut rows, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for dir in &found {
        match of(dir) {
            Ok(of_set) => rows.extend(of_set.into_iter().filter(|row| wanted(&row.lab))),
            // One damaged result set does not keep the others from being exported.
            Err(error) => {
                errln!("lab: not exported: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    let text = match args.format {
        Format::Csv => cases::csv(&rows)?,
        Format::Md => cases::markdown(&rows),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&rows)?),
    };
    match &args.out {
        None => outln!("{}", text.trim_end())?,
        Some(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} is no file's name", path.display()))?;
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            write_file(folder.unwrap_or_else(|| ".".as_ref()), name, &text)?;
            errln!("{} rows of {} result sets: {}", rows.len(), found.len(), path.display());
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
