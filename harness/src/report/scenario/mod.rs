//! Runs of failure scenarios: a picture of each, and a page in Markdown. Nothing here runs anything.

mod picture;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::canvas::standalone;
use crate::results::{Outcome, ScenarioRun, ScenarioSet, write_file};

/// The page of a set, in its folder.
const PAGE: &str = "README.md";

/// Draws all pictures and the page of a set into its folder; the files that were written.
///
/// # Errors
/// When a file cannot be written; it is named.
pub fn write(set: &ScenarioSet, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for run in &set.runs {
        let name = picture_name(run);
        write_file(dir, &name, &standalone(&picture::picture(run)?))?;
        written.push(dir.join(name));
    }
    write_file(dir, PAGE, &page(set))?;
    written.push(dir.join(PAGE));
    Ok(written)
}

/// The file of a run's picture.
pub fn picture_name(run: &ScenarioRun) -> String {
    format!("{}-{}.svg", run.scenario, run.lab)
}

fn page(set: &ScenarioSet) -> String {
    let mut page = format!(
        "# Failure scenarios\n\nEach was played once with `lab {}` on {} ({} cores). The data is in `scenarios.json`.\n\n\
         | scenario | over | outcome | seconds |\n| --- | --- | --- | --- |\n",
        set.versions.lab,
        cell(&set.host.cpu),
        set.host.cores
    );
    for run in &set.runs {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {:.1} |",
            run.scenario,
            run.lab,
            match run.outcome {
                Outcome::Holds => "holds".to_owned(),
                other => format!("**{other}**"),
            },
            run.seconds
        );
    }
    for run in &set.runs {
        let broker = run.broker.as_deref().map(|broker| format!(", {broker}")).unwrap_or_default();
        let _ = writeln!(
            page,
            "\n## {}: {}{broker}\n\n{}.\n\n![{}]({})\n",
            run.scenario,
            run.lab,
            run.title,
            run.title,
            picture_name(run)
        );
        page.push_str("| outcome | claim | seen |\n| --- | --- | --- |\n");
        for check in &run.checks {
            let _ = writeln!(page, "| {} | {} | {} |", check.outcome, cell(&check.claim), cell(&check.seen));
        }
        if !run.facts.is_empty() {
            page.push('\n');
        }
        for fact in &run.facts {
            let _ = writeln!(page, "- {}: {}", cell(&fact.name), cell(&fact.value));
        }
        let _ = writeln!(page, "\nAgain: `{}`", run.command);
    }
    page
}

/// Text in a cell of a table: what came from elsewhere is neither markup nor a second column.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '|' => cell.push_str("\\|"),
            '<' => cell.push_str("&lt;"),
            '&' => cell.push_str("&amp;"),
            '\n' | '\r' => cell.push(' '),
            char => cell.push(char),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn foreign_text_stays_in_its_cell() {
        assert_eq!(cell("a|b<script>\nc & d"), "a\\|b&lt;script> c &amp; d");
    }
}
