//! `lab agree`: do runs of the same plan on the same machine agree?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::usage;
use crate::compare::reproducibility::{self, Agreement, Figure, Measured};
use crate::hint;
use crate::results::Estimate;
use crate::stats::{FEWEST_PAIRS, Share};

#[derive(Debug, Args)]
pub(super) struct AgreeArgs {
    /// Result folders of the same plan, made on the same machine; two or more
    #[arg(required = true, num_args = 2.., value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Save how much wider intervals must be on this host; `lab bench` then applies it
    #[arg(long)]
    save: bool,
    /// With --save: the name of this machine, as it was given to `lab bench --host`
    #[arg(long, value_name = "NAME", requires = "save")]
    host: Option<String>,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &AgreeArgs) -> Result<ExitCode> {
    let host = usage(super::bench::host_named(args.host.as_deref()))?;
    let runs: Vec<Measured> =
        args.dirs.iter().map(|dir| reproducibility::read(dir)).collect::<Result<_>>()?;
    usage(reproducibility::check(&runs))?;
    let agreement = reproducibility::compare(&runs)?;
    if runs.windows(2).any(|pair| pair[0].revision != pair[1].revision) {
        errln!(
            "the result sets come from different revisions of the program: differences between these also \
             count as disagreement"
        );
    }
    if args.json {
        outln!("{}", serde_json::to_string_pretty(&agreement)?)?;
    } else {
        print(&agreement)?;
    }
    if args.save {
        let path = reproducibility::save(&agreement, Path::new("results"), &host)?;
        let bench = hint::command(&["bench"]);
        errln!("\nsaved in {}: from now on `{bench}` widens the intervals of this host", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(agreement: &Agreement) -> Result<()> {
    outln!("{}: {}\n", agreement.host, agreement.result_sets.join(", "))?;
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new());
    table.set_header(["FIGURE", "PAIRS", "INTERVALS OVERLAP", "FACTOR NEEDED"]);
    for own in &agreement.figures {
        table.add_row([
            own.figure.title().to_owned(),
            own.agreed.of.to_string(),
            percent(&own.agreed),
            format!("× {}", own.factor),
        ]);
    }
    table.add_row([
        "all".to_owned(),
        agreement.agreed.of.to_string(),
        percent(&agreement.agreed),
        format!("× {}", agreement.widening.factor),
    ]);
    outln!("{}", table.trim_fmt())?;
    if !agreement.apart.is_empty() {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::TableStyle::new());
        table.set_header(["APART", "FIGURE", "ONE", "THE OTHER", "RATIO", "GAP"]);
        for apart in &agreement.apart {
            let [one, other] = apart.estimates;
            table.add_row([
                apart.cell.clone(),
                apart.figure.title().to_owned(),
                told(apart.figure, one),
                told(apart.figure, other),
                format!("{:.2}", apart.ratio),
                format!("{:.1} %", apart.gap * 100.0),
            ]);
        }
        outln!("\n{}", table.trim_fmt())?;
    }
    outln!(
        "\nwidened by {} (no half-width below {:.0} %): {} overlap",
        agreement.widening.factor,
        agreement.widening.least * 100.0,
        percent(&agreement.widened)
    )?;
    if !agreement.enough {
        outln!("fewer than {FEWEST_PAIRS} pairs: the factor is only what the worst pair needs")?;
    }
    Ok(())
}

/// `72 % (65 – 78)`: a share with its 95 % interval.
fn percent(share: &Share) -> String {
    format!("{:.0} % ({:.0} – {:.0})", share.share * 100.0, share.low * 100.0, share.high * 100.0)
}

/// A figure with its interval, in the unit people read.
fn told(figure: Figure, estimate: Estimate) -> String {
    let (scale, unit) = match figure {
        Figure::Throughput if estimate.median >= 1e6 => (1e6, "M/s"),
        Figure::Throughput => (1e3, "k/s"),
        Figure::P50 | Figure::P99 => (1e3, "µs"),
    };
    let Estimate { median, low, high } = estimate;
    let [median, low, high] = [median, low, high].map(|value| value / scale);
    let decimals = if median < 100.0 { 2 } else { 0 };
    format!("{median:.decimals$} {unit} [{low:.decimals$} – {high:.decimals$}]")
}
