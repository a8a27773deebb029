//! `lab report`: draws result sets again, and publishes them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::command::usage;
use crate::compare::reproducibility;
use crate::report::{self, scorecard};
use crate::results::{FAULTS, ResultSet, private};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Result folders, as in `results/2026-01-31-myhost-quick`
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Pack the raw data of an interrupted or older run into raw.tar
    #[arg(long)]
    pack: bool,
    /// Add these results to the index and let git track them; otherwise git ignores them
    #[arg(long)]
    publish: bool,
    /// Also write the index of all published results, `README.md` in the folder above
    #[arg(long)]
    index: bool,
}

pub(super) fn main(args: &ReportArgs) -> Result<ExitCode> {
    if args.publish {
        // Before anything is changed.
        usage(args.dirs.iter().try_for_each(|dir| private::check(dir)))?;
    }
    let mut code = ExitCode::SUCCESS;
    for dir in &args.dirs {
        // One damaged result set does not keep the others from being drawn.
        if let Err(error) = one(dir, args) {
            errln!("lab: {error:#}");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn one(dir: &Path, args: &ReportArgs) -> Result<()> {
    let faults = dir.join(FAULTS).is_file();
    if faults {
        for path in scorecard::draw(dir)? {
            outln!("{}", path.display())?;
        }
    }
    // Comparisons, views and histories have no report but their own.
    let result_set = !args.publish && !faults || dir.join("run.json").is_file();
    if result_set {
        let (raw, run) = ResultSet::open(dir)?;
        reproducibility::verify(&raw, &run)?;
        outln!("{}", report::draw(dir)?.html.display())?;
        if args.pack || args.publish {
            pack(dir)?;
        }
    }
    if args.publish {
        private::publish(dir)?;
    }
    let index = ((result_set || faults) && (args.publish || args.index))
        .then(|| report::index(&above(dir)?))
        .transpose()?;
    if args.publish {
        let mut words = vec![dir.to_path_buf()];
        words.extend(index);
        let words: Vec<String> = words.iter().map(|path| report::quoted(&path.to_string_lossy())).collect();
        errln!("Published. Now add it to git:\n  git add {}", words.join(" "));
    }
    Ok(())
}

/// Packs the raw data, and says so in `run.json`, which an older program must not take for its own.
fn pack(dir: &Path) -> Result<()> {
    let (mut result_set, run) = ResultSet::open(dir)?;
    if result_set.pack()? {
        result_set.save(&run)?;
    }
    Ok(())
}

/// The folder that the index is in: `results`, or else the one that the result set is in.
fn above(dir: &Path) -> Result<PathBuf> {
    let results = private::results(dir)
        .with_context(|| format!("cannot find the parent folder of {}", dir.display()))?;
    let parent = || dir.parent().filter(|above| !above.as_os_str().is_empty()).map(Path::to_owned);
    Ok(results.or_else(parent).unwrap_or_else(|| ".".into()))
}
