//! The plots. Each is a function from cells to a picture; none reads a file.

mod cost;
mod hops;
mod overview;
mod percentiles;
mod rows;
mod throughput;
mod timeline;

use anyhow::Result;

use super::evidence::{Evidence, Sheet, pattern_title};

/// A drawn plot.
pub(super) struct Picture {
    /// `plots/….svg`.
    pub(super) file: String,
    /// The pattern it belongs to; none for the overview.
    pub(super) pattern: Option<String>,
    /// What it is: `Throughput, 64 B, 1 → 1, maximum load`.
    pub(super) title: String,
    /// How it is read.
    pub(super) about: String,
    /// SVG without a ground.
    pub(super) svg: String,
}

/// Draws all plots of a run: the overview first, then pattern by pattern.
pub(super) fn draw(evidence: &Evidence<'_>, sheets: &[Sheet<'_>]) -> Result<Vec<Picture>> {
    let mut pictures = Vec::new();
    if let Some(canvas) = overview::draw(sheets) {
        let caption = "Throughput at maximum load, every pattern and transport, on one logarithmic scale: \
                       the median (line), its 95\u{202f}% interval (bar) and every trial (dot). Labs are grouped by what they \
                       guarantee; compare within a group.";
        pictures.push(Picture {
            file: "plots/overview.svg".to_owned(),
            pattern: None,
            title: "Overview".to_owned(),
            about: caption.to_owned(),
            svg: canvas.svg(caption)?,
        });
    }
    for sheet in sheets {
        let has_max = sheets.iter().any(|other| other.pattern == sheet.pattern && other.is_max());
        let (setting, load) = (sheet.setting(), sheet.load_text());
        let mut add = |kind: &str, canvas: Option<super::figure::Canvas>, caption: String| -> Result<()> {
            let Some(canvas) = canvas else { return Ok(()) };
            let title = format!("{}: {kind}, {load}, {setting}", pattern_title(sheet.pattern));
            pictures.push(Picture {
                file: format!("plots/{}.{kind}.svg", sheet.stem()),
                pattern: Some(sheet.pattern.to_owned()),
                svg: canvas.svg(&format!("{title}. {caption}"))?,
                title,
                about: caption,
            });
            Ok(())
        };
        if sheet.is_max() {
            let caption = "Messages a second at the receivers: median (bar), 95\u{202f}% bootstrap interval (whiskers), every \
                           trial (dot), and what was lost, duplicated, reordered or corrupt.";
            add("throughput", Some(throughput::draw(sheet)), caption.to_owned())?;
        } else {
            let caption = "Response time, from the scheduled send to the receipt, by percentile; all good trials merged. \
                           A curve ends where fewer than ten samples are left beyond it.";
            add("latency", percentiles::draw(evidence, sheet), caption.to_owned())?;
            let caption = "Response time over each trial: the mean (line) and the largest (dots) of every interval, one \
                           line a trial; the warm-up is shaded.";
            add("timeline", timeline::draw(evidence, sheet), caption.to_owned())?;
            let caption = "Where the time goes: the median of each hop. The first three lie between due and received; \
                           collected is what comes after. Medians do not sum up to the median of the whole.";
            add("hops", hops::draw(sheet), caption.to_owned())?;
        }
        if sheet.is_max() || !has_max {
            let caption = "CPU time per message that the receivers got, user and system, by role and broker.";
            add("cost", cost::draw(sheet), caption.to_owned())?;
        }
    }
    Ok(pictures)
}
