//! `lab site`: static pages over all result sets.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::{Usage, usage};
use crate::hint;
use crate::site;

/// What a reader may have to load for the first page, bytes.
const FIRST_LOAD: usize = 500_000;

#[derive(Debug, Args)]
pub(super) struct SiteArgs {
    /// The folder with result sets, up to four levels deep
    #[arg(value_name = "DIR", default_value = "results")]
    dir: PathBuf,
    /// The folder for the pages; replaced as a whole if it was written by this command
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn main(args: &SiteArgs) -> Result<ExitCode> {
    if !args.dir.is_dir() {
        usage(Err(anyhow::anyhow!(Usage(format!(
            "there is no folder {}; `{}` writes result sets below results/",
            args.dir.display(),
            hint::command(&["bench"])
        )))))?;
    }
    let written = site::write(&args.dir, &args.out, |set| errln!("{set}"))?;
    for reason in &written.left_out {
        errln!("lab: left out: {reason}");
    }
    if written.index_bytes > FIRST_LOAD {
        errln!(
            "lab: the first page has {} bytes, more than the {FIRST_LOAD} that load at once everywhere; keep older \
             result sets in another folder",
            written.index_bytes
        );
    }
    errln!("{} result sets of {} machines:", written.sets, written.machines);
    outln!("{}", written.index.display())?;
    Ok(if written.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
