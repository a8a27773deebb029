//! `lab diff`: two result sets side by side.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::{Usage, usage};
use crate::compare::diff::{self, Compared, Diff, ratio};
use crate::report::number;

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
    let (a, b) = (diff::read(&args.a, 0)?, diff::read(&args.b, 1)?);
    if a.run == b.run {
        usage(Err(anyhow::anyhow!(Usage(format!("{} was given twice: give two result sets", a.run.name)))))?;
    }
    let found = diff::diff(&a, &b)?;
    match (args.json, args.markdown) {
        (true, _) => outln!("{}", serde_json::to_string_pretty(&found)?)?,
        (_, true) => outln!("{}", diff::markdown(&found).trim_end())?,
        _ => print(&found)?,
    }
    Ok(if found.compared.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(found: &Diff) -> Result<()> {
    for (letter, side) in ["A", "B"].iter().zip(&found.sides) {
        outln!("{letter}: {}, {}, {}, lab {}", side.name, side.created, side.host, side.version)?;
    }
    for differs in &found.differs {
        outln!("differs: {differs}")?;
    }
    if !found.compared.is_empty() {
        outln!("\n{}", table(&found.compared))?;
    }
    outln!("{}", found.sentence())?;
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

/// A line for each figure, below the name of its case; narrow enough for 80 columns.
fn table(compared: &[Compared]) -> String {
    const HEADS: [&str; 5] = ["", "A", "B", "B / A", "B IS"];
    let mut lines: Vec<Result<[String; 5], String>> = vec![Ok(HEADS.map(str::to_owned))];
    let same = |a: &&Compared, b: &Compared| (&a.lab, &a.setting, &a.load) == (&b.lab, &b.setting, &b.load);
    for case in compared.chunk_by(|a, b| same(&a, b)) {
        let first = &case[0];
        lines.push(Err(format!("\n{}, {}, {}", first.lab, first.setting, first.load)));
        for one in case {
            let [a, b] = one.values.map(|value| one.shown(value));
            let verdict = one.verdict.as_str().to_owned();
            lines.push(Ok([format!("  {}", one.figure.title()), a, b, ratio(one.ratio.as_ref()), verdict]));
            if let (Some(shares), Some(verdict)) = (one.by_baseline, one.baseline_verdict) {
                let [a, b] = shares.map(number::ratio);
                let of_baseline = ratio(one.of_baseline.as_ref());
                lines.push(Ok([
                    "    by raw sockets".to_owned(),
                    a,
                    b,
                    of_baseline,
                    verdict.as_str().to_owned(),
                ]));
            }
        }
        let mut notes: Vec<&String> = case.iter().flat_map(|one| &one.notes).collect();
        notes.dedup();
        lines.extend(notes.into_iter().map(|note| Err(format!("  {note}"))));
    }
    let width = |at: usize| lines.iter().flatten().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |cells: &[String; 5]| {
        let [figure, a, b, ratio, verdict] = cells;
        format!(
            "{figure:<0$}  {a:>1$}  {b:>2$}  {ratio:>3$}  {verdict}",
            widths[0], widths[1], widths[2], widths[3]
        )
    };
    let text: Vec<String> =
        lines.iter().map(|line_or_text| line_or_text.as_ref().map_or_else(Clone::clone, line)).collect();
    text.join("\n") + "\n"
}
