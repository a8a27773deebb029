//! The result sets of the site: what is listed of each, and its pages.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::folder::Folder;
use super::look::{Look, machine};
use crate::compare::reproducibility::verify;
use crate::report::cases::{self, Promises};
use crate::report::{self, number, render, scenario, scorecard};
use crate::results::{
    FAULTS, FaultSet, MOST_RECORD, Outcome, RUN, ResultSet, Run, SCENARIOS, ScenarioSet, Verdict, read_text,
    write_file,
};

/// A page could not be written: the disk is full, or the folder has gone.
#[derive(Debug)]
struct Unwritten;

impl std::fmt::Display for Unwritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the pages cannot be written")
    }
}

impl std::error::Error for Unwritten {}

/// All result sets that were found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) listed: Vec<Listed>,
    pub(super) measured: Vec<Measured>,
    pub(super) left_out: Vec<String>,
}

/// A row of the first page.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) date: String,
    pub(super) machine: String,
    version: String,
    kind: &'static str,
    about: String,
    /// Its pages, with what they are called.
    links: Vec<(String, &'static str)>,
}

/// A run with the rows of its cases, and the page that has them.
pub(super) struct Measured {
    pub(super) run: Run,
    pub(super) rows: Vec<cases::Row>,
    /// From the site's top, encoded.
    pub(super) link: String,
}

#[derive(Serialize)]
struct ScenarioPage<'a> {
    machine: String,
    runs: Vec<ScenarioRow>,
    style: &'a str,
    policy: &'a str,
}

#[derive(Serialize)]
struct ScenarioRow {
    scenario: String,
    title: String,
    lab: String,
    outcome: String,
    holds: bool,
    command: String,
    checks: Vec<[String; 3]>,
    picture: String,
}

impl Found {
    /// Adds what is in a folder, each kind for itself. A damaged one is named, and keeps no other
    /// from being shown.
    pub(super) fn add(&mut self, dir: &Path, below: &Path, folder: &Folder, look: &Look) -> Result<()> {
        let name = below.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
        let kinds = [
            (RUN, Self::run as fn(&mut Self, &Place<'_>) -> Result<()>),
            (FAULTS, Self::faults),
            (SCENARIOS, Self::scenarios),
        ];
        let place = Place { dir, below, name: &name, folder, look };
        for (file, add) in kinds {
            if !dir.join(file).is_file() {
                continue;
            }
            match add(self, &place) {
                Ok(()) => {}
                // A page that cannot be written is no fault of its result set.
                Err(error) if error.is::<Unwritten>() => return Err(error),
                Err(error) => self.left_out.push(format!("{}: {error:#}", below.display())),
            }
        }
        Ok(())
    }

    fn run(&mut self, place: &Place<'_>) -> Result<()> {
        let (result_set, run) = ResultSet::open(place.dir)?;
        verify(&result_set, &run)?;
        let rows = cases::rows(&run, &Promises::beside(place.dir));
        place.write("report.html", &report::page_of(place.dir)?.html)?;
        place.write("cases.csv", &cases::csv(&rows)?)?;
        let searched = run.capacities.iter().map(|found| found.subject.lab.as_str());
        let mut labs: Vec<&str> = rows.iter().map(|row| row.lab.as_str()).chain(searched).collect();
        labs.sort_unstable();
        labs.dedup();
        let loads: Vec<String> = run.plan.loads.iter().map(number::load).collect();
        let unfinished = if run.complete { "" } else { ", unfinished" };
        self.listed.push(Listed {
            name: place.name.to_owned(),
            date: day(&run.created),
            machine: machine(&run.host),
            version: run.versions.program(),
            kind: "measured",
            about: format!("{}, {}{unfinished}", number::plural(labs.len(), "lab", "labs"), loads.join(", ")),
            links: vec![(place.link("report.html"), "report"), (place.link("cases.csv"), "CSV")],
        });
        self.measured.push(Measured { run, rows, link: place.link("report.html") });
        Ok(())
    }

    fn faults(&mut self, place: &Place<'_>) -> Result<()> {
        let set = FaultSet::open(place.dir)?;
        let write = || scorecard::write(&set, &place.folder.below(&place.inside())?, None);
        write().context(Unwritten)?;
        let count = |verdict| set.runs.iter().filter(|run| run.verdict == verdict).count();
        self.listed.push(Listed {
            name: place.name.to_owned(),
            date: place.date(),
            machine: machine(&set.host),
            version: set.versions.program(),
            kind: "under faults",
            about: format!(
                "{}: promise kept in {}, broken in {}, cannot tell in {}; in {} it does not cover the fault",
                number::plural(set.runs.len(), "run", "runs"),
                count(Verdict::Kept),
                count(Verdict::Broke),
                count(Verdict::CannotTell),
                count(Verdict::NotPromised) + count(Verdict::DoesNotApply)
            ),
            links: vec![(place.link(scorecard::PAGE), "scorecard")],
        });
        Ok(())
    }

    fn scenarios(&mut self, place: &Place<'_>) -> Result<()> {
        let set = ScenarioSet::open(place.dir)?;
        let mut runs = Vec::new();
        for run in &set.runs {
            let picture = scenario::picture_name(run);
            // Names come from a file that anybody may have written.
            anyhow::ensure!(is_plain(&picture), "{picture:?} is no name of a scenario and a lab");
            // The picture as it was drawn; where it is missing, the page does without.
            if let Ok(svg) = read_text(&place.dir.join(&picture), MOST_RECORD) {
                place.write(&picture, &svg)?;
            }
            runs.push(ScenarioRow {
                scenario: run.scenario.clone(),
                title: run.title.clone(),
                lab: run.lab.clone(),
                outcome: run.outcome.to_string(),
                holds: run.outcome == Outcome::Holds,
                command: run.command.clone(),
                checks: run
                    .checks
                    .iter()
                    .map(|check| [check.claim.clone(), check.seen.clone(), check.outcome.to_string()])
                    .collect(),
                picture,
            });
        }
        let holds = runs.iter().filter(|run| run.holds).count();
        let about = format!("{}: {holds} hold", number::plural(runs.len(), "scenario", "scenarios"));
        let page = ScenarioPage {
            machine: machine(&set.host),
            runs,
            style: &place.look.style,
            policy: &place.look.policy.replace("default-src 'none'", "default-src 'none'; img-src 'self'"),
        };
        place.write(
            "scenarios.html",
            &render::render("scenarios.html", include_str!("templates/scenarios.html"), &page)?,
        )?;
        self.listed.push(Listed {
            name: place.name.to_owned(),
            date: place.date(),
            machine: machine(&set.host),
            version: set.versions.program(),
            kind: "failure scenarios",
            about,
            links: vec![(place.link("scenarios.html"), "scenarios")],
        });
        Ok(())
    }
}

/// A result set and where its pages go.
struct Place<'a> {
    dir: &'a Path,
    below: &'a Path,
    name: &'a str,
    folder: &'a Folder,
    look: &'a Look,
}

impl Place<'_> {
    /// Its folder in the site: the same way below `sets` as below the results, so that links between
    /// result sets hold.
    fn inside(&self) -> std::path::PathBuf {
        Path::new("sets").join(self.below)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        let write = || write_file(&self.folder.below(&self.inside())?, name, content);
        write().context(Unwritten)
    }

    fn link(&self, name: &str) -> String {
        render::address(&self.inside().join(name))
    }

    /// The day in its name: sets under faults have no other.
    fn date(&self) -> String {
        let day = self.name.get(..10).filter(|day| day.parse::<jiff::civil::Date>().is_ok());
        day.unwrap_or("–").to_owned()
    }
}

fn day(created: &str) -> String {
    created.chars().take(10).collect()
}

fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
