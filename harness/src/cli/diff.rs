//! `lab diff`: two result sets side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::{Usage, usage};
use crate::compare::diff::{self, Diff, Verdict, ratio};

/// With more cases than this in one result set alone, only the number is printed.
const MOST_NAMED: usize = 6;

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The result folder to compare with
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The result folder that is compared: ratios are B by A
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print the comparison as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the comparison as Markdown
    #[arg(long)]
    markdown: bool,
}

pub(super) fn main(args: &DiffArgs) -> Result<ExitCode> {
    let (a, b) = (diff::read(&args.a)?, diff::read(&args.b)?);
    if (&a.name, &a.created) == (&b.name, &b.created) {
        usage(Err(anyhow::anyhow!(Usage(format!("{} was given twice: give two result sets", a.name)))))?;
    }
    let found = diff::diff(&a, &b)?;
    match (args.json, args.markdown) {
        (true, _) => outln!("{}", serde_json::to_string_pretty(&found)?)?,
        (_, true) => outln!("{}", diff::markdown(&found).trim_end())?,
        _ => print(&found)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &Diff) -> Result<()> {
    for (letter, side) in ["A", "B"].iter().zip(&found.sides) {
        outln!("{letter}: {}, {}, {}, lab {}", side.name, side.created, side.host, side.version)?;
    }
    for differs in &found.differs {
        outln!("differs: {differs}")?;
    }
    if found.compared.is_empty() {
        outln!("\nthey have no case in common")?;
    } else {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::TableStyle::new());
        table.set_header(["CASE", "FIGURE", "A", "B", "B / A", "B IS", "BY RAW SOCKETS, B / A", "B IS"]);
        for one in &found.compared {
            let [of_a, of_b] = one.values.map(|value| one.shown(value));
            let notes =
                if one.notes.is_empty() { String::new() } else { format!("\n{}", one.notes.join("; ")) };
            table.add_row([
                format!("{}, {}, {}{notes}", one.lab, one.setting, one.load),
                one.figure.title().to_owned(),
                of_a,
                of_b,
                ratio(one.ratio.as_ref()),
                one.verdict.as_str().to_owned(),
                ratio(one.of_baseline.as_ref()),
                one.baseline_verdict.map_or("–", Verdict::as_str).to_owned(),
            ]);
        }
        outln!("\n{}", table.trim_fmt())?;
        outln!(
            "\n{} figures in both: B is better in {}, worse in {}, cannot tell in {}.",
            found.compared.len(),
            found.count(Verdict::Better),
            found.count(Verdict::Worse),
            found.count(Verdict::CannotTell)
        )?;
    }
    outln!("{}", found.intervals)?;
    for (letter, only) in ["A", "B"].iter().zip(&found.only) {
        match only.as_slice() {
            [] => {}
            few if few.len() <= MOST_NAMED => outln!("Only in {letter}: {}", few.join("; "))?,
            many => outln!(
                "Only in {letter}: {} cases, such as {}; --json lists them",
                many.len(),
                many[..2].join("; ")
            )?,
        }
    }
    Ok(())
}
