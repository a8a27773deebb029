//! The plots. Each is a function from cells to a picture; none reads a file.

mod axis;
mod capacity;
mod cost;
mod drain;
mod hops;
mod lines;
mod overview;
mod percentiles;
mod rows;
mod sweep;
mod throughput;
mod timeline;

use anyhow::Result;

use super::axes;
use super::figure::Canvas;
use super::limits::Limit;
use super::model::{Evidence, Sheet, pattern_title, setting, short_name};
use crate::results::LoadKind;

/// Where a picture stands in the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Beside the tables of throughput and latency.
    Answer,
    /// With what the labs sustain.
    Limits,
    /// With backlogs.
    Backlog,
    /// With what the plan varied.
    Axes,
    /// With the evidence of a pattern.
    Evidence(String),
}

/// A drawn plot.
pub(super) struct Picture {
    /// `plots/….svg`.
    pub(super) file: String,
    pub(super) place: Place,
    /// What it is: `Throughput, 64 B, 1 → 1, maximum load`.
    pub(super) title: String,
    /// How it is read.
    pub(super) about: String,
    /// SVG without a ground.
    pub(super) svg: String,
    /// Width, px.
    pub(super) width: f64,
}

/// Pictures as they are drawn.
struct Gallery(Vec<Picture>);

impl Gallery {
    /// Adds a picture, where there was something to draw.
    fn add(
        &mut self,
        place: Place,
        stem: &str,
        canvas: Option<Canvas>,
        (title, about): (String, &str),
    ) -> Result<()> {
        let Some(canvas) = canvas else { return Ok(()) };
        self.0.push(Picture {
            file: format!("plots/{stem}.svg"),
            place,
            svg: canvas.svg(&format!("{title}. {about}"))?,
            title,
            about: about.to_owned(),
            width: canvas.width,
        });
        Ok(())
    }
}

/// Draws all plots of a run: those of the answer first, then pattern by pattern.
pub(super) fn draw(
    evidence: &Evidence<'_>,
    sheets: &[Sheet<'_>],
    limits: &[Limit<'_>],
) -> Result<Vec<Picture>> {
    let mut gallery = Gallery(Vec::new());
    answers(&mut gallery, sheets, limits)?;
    for axis in axes::axes(sheets) {
        let about = if axis.is_max {
            "Messages a second at the receivers: the median, with its 95\u{202f}% interval; one line a lab."
        } else {
            "Median response time, from the scheduled send to the receipt; one line a lab."
        };
        gallery.add(Place::Axes, &axis.stem(), axis::draw(&axis), (axis.title(), about))?;
    }
    for sheet in sheets {
        of_sheet(&mut gallery, evidence, sheet, sheets)?;
    }
    for limit in limits {
        let cell = limit.cell;
        let title =
            format!("{}: {} against load, {}", pattern_title(&cell.pattern), short_name(cell), setting(cell));
        let about = "Response time at each share of the sustainable rate: mean, p50 and p99 of the merged trials, \
                     and how late the generator was (lag). Predicted: the mean that queueing theory gives for a single server. \
                     The knee is where load divided by mean response is largest.";
        let stem = format!(
            "{}.sweep.{}",
            cell.id.rsplit_once('.').map_or(cell.id.as_str(), |(stem, _)| stem),
            limit.stem()
        );
        gallery.add(Place::Evidence(cell.pattern.clone()), &stem, sweep::draw(limit), (title, about))?;
    }
    Ok(gallery.0)
}

/// The pictures of the answer: everything at a glance.
fn answers(gallery: &mut Gallery, sheets: &[Sheet<'_>], limits: &[Limit<'_>]) -> Result<()> {
    let about = "Every pattern and transport, on one logarithmic scale: the median (line), its 95\u{202f}% interval (bar) and every \
                 trial (dot). Labs are grouped by what they guarantee; compare within a group.";
    let title = "Throughput at maximum load".to_owned();
    gallery.add(Place::Answer, "overview", overview::throughput(sheets), (title, about))?;
    let about = "From the scheduled send to the receipt, every pattern and transport, on one logarithmic scale: from p50 (line) to \
                 p99 (end of the bar), all good trials merged.";
    let title = "Response time at a rate".to_owned();
    gallery.add(Place::Answer, "overview-latency", overview::latency(sheets), (title, about))?;
    let about = "The limit lies in the bar: it begins at a rate that was sustained and ends at the lowest that was not. \
                 The line is the highest rate that was sustained in the longer run, too.";
    let title = "Sustainable rate".to_owned();
    gallery.add(Place::Limits, "capacity", capacity::draw(limits), (title, about))?;
    let about = "99th percentile of the response, from far below the sustainable rate to just above it, on one logarithmic scale. \
                 Each lab's load is a share of its own sustainable rate.";
    let title = "Latency against load".to_owned();
    gallery.add(Place::Limits, "sweep", sweep::overview(limits), (title, about))
}

/// The pictures of one sheet.
fn of_sheet(
    gallery: &mut Gallery,
    evidence: &Evidence<'_>,
    sheet: &Sheet<'_>,
    sheets: &[Sheet<'_>],
) -> Result<()> {
    let has_max = sheets.iter().any(|other| other.pattern == sheet.pattern && other.is_max());
    let (setting, load) = (sheet.setting(), sheet.load_text());
    let mut add = |kind: &str, canvas: Option<Canvas>, about: &str| {
        let pattern = pattern_title(sheet.pattern);
        let (title, place) = match sheet.kind() {
            LoadKind::Drain => (format!("{pattern}: {load}, {setting}"), Place::Backlog),
            _ => (format!("{pattern}: {kind}, {load}, {setting}"), Place::Evidence(sheet.pattern.to_owned())),
        };
        gallery.add(place, &format!("{}.{kind}", sheet.stem()), canvas, (title, about))
    };
    match sheet.kind() {
        LoadKind::Max => {
            let about = "Messages a second at the receivers: median (bar), 95\u{202f}% bootstrap interval (whiskers), every \
                         trial (dot), and what was lost, duplicated, reordered or corrupt.";
            add("throughput", Some(throughput::draw(sheet)), about)?;
        }
        LoadKind::Drain => {
            let about = "How fast messages were queued up and confirmed while no consumer was there, and how fast they were \
                         taken once the consumers came: medians, with the 95\u{202f}% interval.";
            add("backlog", Some(drain::draw(sheet)), about)?;
        }
        LoadKind::Rate | LoadKind::Capacity | LoadKind::Sweep => {
            let about = "Response time, from the scheduled send to the receipt, by percentile; all good trials merged. \
                         A curve ends where fewer than ten samples are left beyond it.";
            add("latency", percentiles::draw(evidence, sheet), about)?;
            let about = "Response time over each trial: the mean (line) and the largest (dots) of every interval, one \
                         line a trial; the warm-up is shaded. The dashed line is the longest that an idle thread overslept \
                         meanwhile: a peak below it may be the machine's.";
            let more = " The strip below: messages due (grey) and received (coloured) a second, in the first good trial.";
            let about = if sheet.is_uneven() { format!("{about}{more}") } else { about.to_owned() };
            add("timeline", timeline::draw(evidence, sheet), &about)?;
            let about = "Where the time goes: the median of each hop. The first three lie between due and received; \
                         collected is what comes after. Medians do not sum up to the median of the whole.";
            add("hops", hops::draw(sheet), about)?;
        }
    }
    if sheet.is_max() || (!has_max && sheet.kind() != LoadKind::Drain) {
        let about = "CPU time per message that the receivers got, user and system, by role and broker.";
        add("cost", cost::draw(sheet), about)?;
    }
    Ok(())
}
