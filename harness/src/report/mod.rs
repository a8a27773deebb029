//! The report of a run, drawn from its bundle alone: plots, one HTML file to
//! send on, and a README. Nothing here runs anything.

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
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::Result;
pub use index::index;
pub(crate) use page::quoted;

use crate::results::Bundle;
use model::Evidence;
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

/// What the templates are given.
#[derive(Serialize)]
struct File<'a> {
    page: &'a page::Page,
    style: &'a str,
    script: &'a str,
    /// What the page may do: apply this style, run this script, and load nothing.
    policy: &'a str,
}

/// Draws the bundle in `dir`: `plots/*.svg`, `report.html` and `README.md`,
/// each replaced atomically. The same bundle gives the same files.
///
/// # Errors
/// When `run.json` is missing, damaged or of another schema, a good trial's
/// recording is missing, or a file cannot be written; the file is named.
pub fn draw(dir: &Path) -> Result<Written> {
    let (bundle, run) = Bundle::open(dir)?;
    let evidence = Evidence::read(&bundle, &run)?;
    let sheets = model::sheets(evidence.run);
    let limits = limits::limits(&run);
    let pictures = plots::draw(&evidence, &sheets, &limits)?;

    let mut plots = Vec::new();
    for picture in &pictures {
        bundle.write(&picture.file, &figure::standalone(&picture.svg))?;
        plots.push(dir.join(&picture.file));
    }
    let page = page::page(&run, &sheets, &limits, pictures);
    let style = format!("{}{}", include_str!("templates/style.css"), palette::style());
    let script = include_str!("templates/report.js");
    let policy = render::policy(&style, script);
    let file = || File { page: &page, style: &style, script, policy: &policy };
    let html = include_str!("templates/report.html");
    bundle.write("report.html", &render::render("report.html", html, file())?)?;
    let readme = include_str!("templates/readme.md");
    bundle.write("README.md", &render::render("README.md", readme, file())?)?;
    Ok(Written { html: dir.join("report.html"), readme: dir.join("README.md"), plots })
}
