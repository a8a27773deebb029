//! `lab site`: static pages over all result sets.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Args;

use crate::command::{Usage, interruptible, usage};
use crate::hint;
use crate::report::number;
use crate::site;

/// What a reader may have to load for the first page, bytes.
const FIRST_LOAD: usize = 500_000;

#[derive(Debug, Args)]
pub(super) struct SiteArgs {
    /// The folder with result sets, up to four levels deep
    #[arg(value_name = "DIR", default_value = "results")]
    dir: PathBuf,
    /// The folder for the pages; replaced as a whole if nothing is in it but what this command wrote
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
    let Some(written) = written(args)? else { return Ok(ExitCode::from(130)) };
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
    errln!(
        "{} of {}:",
        number::plural(written.sets, "result set", "result sets"),
        number::plural(written.machines, "machine", "machines")
    );
    outln!("{}", written.index.display())?;
    Ok(if written.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the pages; nothing on Ctrl-C, and then no half of them is left.
fn written(args: &SiteArgs) -> Result<Option<site::Written>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut work = {
        let (dir, out, stop) = (args.dir.clone(), args.out.clone(), Arc::clone(&stop));
        runtime.spawn_blocking(move || {
            site::write(&dir, &out, |set| {
                errln!("{set}");
                !stop.load(Ordering::Relaxed)
            })
        })
    };
    runtime.block_on(async {
        if let Some(done) = interruptible(&mut work).await {
            return done?;
        }
        stop.store(true, Ordering::Relaxed);
        let written = work.await??;
        if written.is_none() {
            errln!("interrupted: {} is as it was", args.out.display());
        }
        Ok(written)
    })
}
