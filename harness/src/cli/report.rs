//! `lab report`: draws bundles again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::report;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Result folders, as in `results/2026-01-31-myhost-quick`
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Also write the index of all bundles beside them, `README.md` in the folder above
    #[arg(long)]
    index: bool,
}

pub(super) fn main(args: &ReportArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for dir in &args.dirs {
        // One damaged bundle does not keep the others from being drawn.
        match report::draw(dir) {
            Ok(written) => outln!("{}", written.html.display())?,
            Err(error) => {
                eprintln!("lab: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
        if args.index {
            let above =
                dir.parent().filter(|above| !above.as_os_str().is_empty()).map_or(".".into(), PathBuf::from);
            report::index(&above)?;
        }
    }
    Ok(code)
}
