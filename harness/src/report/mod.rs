//! The report of a run, drawn from its result set alone: plots, one HTML file to send,
//! and a README. Nothing here runs anything.

mod axes;
pub(crate) mod figure;
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

use std::path::{Path, PathBuf};

use anyhow::Result;
pub use index::index;
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
    style: &'a str,
    script: &'a str,
    /// The content security policy: the page may apply this style and run this script, and load
    /// nothing.
    policy: &'a str,
}

/// Draws the result set in `dir`: `plots/*.svg`, `report.html` and `README.md`, each replaced
/// atomically. The same result set gives the same files.
///
/// # Errors
/// When `run.json` is missing, damaged or of another schema, a good trial's
/// recording is missing, or a file cannot be written; the file is named.
pub fn draw(dir: &Path) -> Result<Written> {
    let (result_set, run) = ResultSet::open(dir)?;
    let data = ReportData::read(&result_set, &run)?;
    let comparisons = model::comparisons(data.run);
    let limits = limits::limits(&run);
    let pictures = plots::draw(&data, &comparisons, &limits)?;

    let mut plots = Vec::new();
    for picture in &pictures {
        result_set.write(&picture.file, &figure::standalone(&picture.svg))?;
        plots.push(dir.join(&picture.file));
    }
    let page = page::page(&run, &comparisons, &limits, pictures);
    let style = format!("{}{}", include_str!("templates/style.css"), palette::style());
    let script = include_str!("templates/report.js");
    let policy = render::policy(&style, script);
    let file = || File { page: &page, style: &style, script, policy: &policy };
    let html = include_str!("templates/report.html");
    result_set.write("report.html", &render::render("report.html", html, file())?)?;
    let readme = include_str!("templates/readme.md");
    result_set.write("README.md", &render::render("README.md", readme, file())?)?;
    Ok(Written { html: dir.join("report.html"), readme: dir.join("README.md"), plots })
}
