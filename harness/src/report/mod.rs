//! The report of a run, drawn from its result set alone: plots, one HTML file to send,
//! and a README. Nothing here runs anything.

mod axes;
pub(crate) mod canvas;
pub(crate) mod cases;
mod compact;
mod figures;
mod index;
mod limits;
mod model;
pub(crate) mod number;
mod page;
pub(crate) mod palette;
mod plots;
pub(crate) mod render;
pub(crate) mod scale;
pub mod scenario;
pub mod scorecard;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{build as cases_of_tests, fixture as fixture_of_tests};

use std::path::{Path, PathBuf};

use anyhow::Result;
pub(crate) use figures::Figures;
pub use index::index;
pub(crate) use model::{pattern_order, pattern_title, setting};
pub(crate) use page::quoted;

use crate::results::ResultSet;
use model::ReportData;
use serde::Serialize;

/// What [`draw`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The report to open or send: one file, nothing beside it is needed.
    pub html: PathBuf,
    /// The same answer as Markdown, for a code host.
    pub readme: PathBuf,
    /// The plots, SVG, overview first.
    pub plots: Vec<PathBuf>,
}

/// The data for the templates.
#[derive(Serialize)]
struct File<'a> {
    page: &'a page::Page,
    /// Its cases as JSON that ends no element.
    data: &'a str,
    style: &'a str,
    script: &'a str,
    /// The content security policy: the page may apply this style and run this script, and load
    /// nothing.
    policy: &'a str,
}

/// A report that is not written anywhere yet.
pub struct Page {
    /// One file, nothing beside it is needed.
    pub html: String,
    /// The same answer as Markdown, for a code host.
    pub readme: String,
    /// The plots, overview first: the file's name in the result set, and the SVG.
    pub plots: Vec<(String, String)>,
}

/// The report of the result set in `dir`, which is only read. The same result set gives the same
/// report, with the same runs under faults beside it: those say whether each lab kept its promise.
///
/// # Errors
/// When `run.json` is missing, damaged or of another schema, or a good trial's recording is
/// missing; the file is named.
pub fn page_of(dir: &Path) -> Result<Page> {
    let (result_set, run) = ResultSet::open(dir)?;
    let data = ReportData::read(&result_set, &run)?;
    let comparisons = model::comparisons(data.run);
    let limits = limits::limits(&run);
    let pictures = plots::draw(&data, &comparisons, &limits)?;
    let plots =
        pictures.iter().map(|picture| (picture.file.clone(), canvas::standalone(&picture.svg))).collect();
    let promises = cases::Promises::beside(dir);
    let page = page::page(&run, &comparisons, &limits, pictures, &promises, &data.figures()?)?;
    let style = format!("{}{}", include_str!("templates/style.css"), palette::style());
    let script = concat!(include_str!("templates/report.js"), include_str!("templates/compare.js"));
    let policy = render::policy(&style, script);
    let data = serde_json::to_string(&page.data)?.replace('<', "\\u003c");
    let file = || File { page: &page, data: &data, style: &style, script, policy: &policy };
    let html = render::render("report.html", include_str!("templates/report.html"), file())?;
    let readme = render::render("README.md", include_str!("templates/readme.md"), file())?;
    Ok(Page { html, readme, plots })
}

/// Draws the result set in `dir`: `plots/*.svg`, `report.html` and `README.md`, each replaced
/// atomically.
///
/// # Errors
/// As [`page_of`], or when a file cannot be written.
pub fn draw(dir: &Path) -> Result<Written> {
    let page = page_of(dir)?;
    let (result_set, _) = ResultSet::open(dir)?;
    let mut plots = Vec::new();
    for (file, svg) in &page.plots {
        result_set.write(file, svg)?;
        plots.push(dir.join(file));
    }
    result_set.write("report.html", &page.html)?;
    result_set.write("README.md", &page.readme)?;
    Ok(Written { html: dir.join("report.html"), readme: dir.join("README.md"), plots })
}
