//! `lab history`: the result sets of one host over time.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::Usage;
use crate::compare::history::{self, History};
use crate::compare::regress::verdict::percent;
use crate::hint;
use crate::measure::host;
use crate::results::{self, Run};
use crate::roles::Handle;

/// The random orders are always the same: the same result sets give the same history.
const SEED: u64 = 1;

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Folders with result sets, up to four levels deep
    #[arg(value_name = "DIR", default_value = "results")]
    dirs: Vec<PathBuf>,
    /// Part of a host's name or CPU, when the result sets are from several hosts; default: this machine
    #[arg(long)]
    host: Option<String>,
    /// Only these labs: names, globs (quoted) or patterns; may be given several times
    #[arg(long, value_name = "LAB")]
    lab: Vec<String>,
    /// Folder for plots and pages
    #[arg(long, value_name = "DIR", default_value = "results/history")]
    out: PathBuf,
    /// Print the history as JSON, and write nothing
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &HistoryArgs, handles: &[Handle]) -> Result<ExitCode> {
    let wanted = super::export::chosen(&args.lab, handles)?;
    if let Some(missing) = args.dirs.iter().find(|dir| !dir.is_dir()) {
        bail!(Usage(format!(
            "there is no folder {}; `{}` writes result sets below results/, and `{}` reads those of another \
             folder",
            missing.display(),
            hint::command(&["bench"]),
            hint::command(&["history", "DIR"])
        )));
    }
    let (runs, unread) = history::read(&args.dirs)?;
    let host = choose(args, &runs)?;
    let of_host: Vec<&Run> = runs.iter().filter(|run| history::host_name(&run.host) == host).collect();
    let told = history::follow(&host, &of_host, wanted, SEED);
    for reason in &unread {
        errln!("not read: {reason}");
    }
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&told)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    results::private::create(&args.out)?;
    let [html, _] = history::write(&told, &unread, &args.out)?;
    print(&told)?;
    errln!("\nPlots: {}", html.display());
    Ok(ExitCode::SUCCESS)
}

/// The host that was asked for; else this one, or the only one there is.
fn choose(args: &HistoryArgs, runs: &[Run]) -> Result<String> {
    let mut hosts: Vec<String> = runs.iter().map(|run| history::host_name(&run.host)).collect();
    hosts.sort();
    hosts.dedup();
    let list = || hosts.iter().map(|host| format!("\n  {host}")).collect::<String>();
    let here = history::host_name(&host::host());
    let fitting: Vec<&String> = match &args.host {
        Some(part) => hosts.iter().filter(|host| host.contains(part.as_str())).collect(),
        None if hosts.contains(&here) => return Ok(here),
        None => hosts.iter().collect(),
    };
    match (fitting.as_slice(), &args.host) {
        ([one], _) => Ok((*one).clone()),
        _ if hosts.is_empty() => {
            let dirs: Vec<String> = args.dirs.iter().map(|dir| dir.display().to_string()).collect();
            let bench = hint::command(&["bench"]);
            bail!(Usage(format!("there are no result sets below {}; `{bench}` makes one", dirs.join(", "))))
        }
        ([], Some(part)) => bail!(Usage(format!("no host matches `{part}`; the hosts are:{}", list()))),
        (_, Some(part)) => {
            bail!(Usage(format!("several hosts match `{part}`; give more of the name of one of:{}", list())))
        }
        (_, None) => bail!(Usage(format!(
            "the result sets are of several other hosts; choose one with --host:{}",
            list()
        ))),
    }
}

fn print(told: &History) -> Result<()> {
    outln!("{}: {} result sets, {} series", told.host, told.runs, told.series.len())?;
    let short = told.series.iter().filter(|series| !series.enough).count();
    if short > 0 {
        outln!("{short} series have too few result sets to look for changes: {} are needed", told.fewest)?;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(["CELL", "MEASURE", "SINCE", "CHANGE", "OTHER CHANGES"]);
    let mut changes = 0;
    for series in &told.series {
        for shift in &series.changes {
            changes += 1;
            table.add_row([
                series.cell.clone(),
                series.measure.title().to_owned(),
                shift.run.clone(),
                format!("{} ({})", percent(shift.ratio), if shift.worse { "worse" } else { "better" }),
                shift.changed.join("; "),
            ]);
        }
    }
    match changes {
        0 if short < told.series.len() => outln!("no change was found")?,
        0 => {}
        _ => outln!("\n{}", table.trim_fmt())?,
    }
    Ok(())
}
