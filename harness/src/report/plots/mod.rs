//! The plots of a report. Each is a function from cases to a picture; none reads a file.

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
use super::canvas::Canvas;
use super::limits::Limit;
use super::model::{Comparison, ReportData, pattern_title, setting, short_name};
use crate::results::LoadKind;

/// The section of the report that shows a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// Beside the tables of throughput and latency.
    Results,
    /// With the sustainable rates.
    Limits,
    /// With backlogs.
    Backlog,
    /// With the varied parameters.
    Axes,
    /// With the plots and trials of a pattern.
    Pattern(String),
}

/// A drawn plot.
pub(super) struct Picture {
    /// `plots/….svg`.
    pub(super) file: String,
    pub(super) section: Section,
    /// Its title: `Throughput, 64 B, 1 → 1, maximum load`.
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
        section: Section,
        stem: &str,
        canvas: Option<Canvas>,
        (title, about): (String, &str),
    ) -> Result<()> {
        let Some(canvas) = canvas else { return Ok(()) };
        self.0.push(Picture {
            file: format!("plots/{stem}.svg"),
            section,
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
    data: &ReportData<'_>,
    comparisons: &[Comparison<'_>],
    limits: &[Limit<'_>],
) -> Result<Vec<Picture>> {
    let mut gallery = Gallery(Vec::new());
    answers(&mut gallery, comparisons, limits)?;
    for axis in axes::axes(comparisons) {
        let about = if axis.is_max {
            "Messages a second at the receivers: the median, with its 95\u{202f}% interval; one line a lab."
        } else {
            "Median response time, from the scheduled send to the receipt; one line a lab."
        };
        gallery.add(Section::Axes, &axis.stem(), axis::draw(&axis), (axis.title(), about))?;
    }
    for comparison in comparisons {
        of_comparison(&mut gallery, data, comparison, comparisons)?;
    }
    for limit in limits {
        let cell = limit.cell;
        let title =
            format!("{}: {} against load, {}", pattern_title(&cell.pattern), short_name(cell), setting(cell));
        let about = "Response time at each share of the sustainable rate: mean, p50 and p99 of the merged \
                     trials, and how late the generator was (lag). Predicted: the mean that queueing theory \
                     gives for a single server. At the knee, load divided by mean response time is largest.";
        let stem = format!(
            "{}.sweep.{}",
            cell.id.rsplit_once('.').map_or(cell.id.as_str(), |(stem, _)| stem),
            limit.stem()
        );
        gallery.add(Section::Pattern(cell.pattern.clone()), &stem, sweep::draw(limit), (title, about))?;
    }
    Ok(gallery.0)
}

/// The pictures of the answer: everything at a glance.
fn answers(gallery: &mut Gallery, comparisons: &[Comparison<'_>], limits: &[Limit<'_>]) -> Result<()> {
    let about = "Every pattern and transport, on one logarithmic scale: the median (line), its 95\u{202f}% \
                 interval (bar) and every trial (dot). Labs are grouped by guarantee; compare only within a \
                 group.";
    let title = "Throughput at maximum load".to_owned();
    gallery.add(Section::Results, "overview", overview::throughput(comparisons), (title, about))?;
    let about = "From the scheduled send to the receipt, every pattern and transport, on one logarithmic scale: from p50 (line) to \
                 p99 (end of the bar), all good trials merged.";
    let title = "Response time at a rate".to_owned();
    gallery.add(Section::Results, "overview-latency", overview::latency(comparisons), (title, about))?;
    let about = "The limit is within the bar, which begins at a rate that passed and ends at the lowest rate \
                 that failed. The line is the highest rate that also passed the longer run.";
    let title = "Sustainable rate".to_owned();
    gallery.add(Section::Limits, "capacity", capacity::draw(limits), (title, about))?;
    let about = "99th percentile of the response, from far below the sustainable rate to just above it, on one logarithmic scale. \
                 Each lab's load is a share of its own sustainable rate.";
    let title = "Latency against load".to_owned();
    gallery.add(Section::Limits, "sweep", sweep::overview(limits), (title, about))
}

/// The pictures of one comparison.
fn of_comparison(
    gallery: &mut Gallery,
    data: &ReportData<'_>,
    comparison: &Comparison<'_>,
    comparisons: &[Comparison<'_>],
) -> Result<()> {
    let has_max = comparisons.iter().any(|other| other.pattern == comparison.pattern && other.is_max());
    let (setting, load) = (comparison.setting(), comparison.load_text());
    let mut add = |kind: &str, canvas: Option<Canvas>, about: &str| {
        let pattern = pattern_title(comparison.pattern);
        let (title, section) = match comparison.kind() {
            LoadKind::Drain => (format!("{pattern}: {load}, {setting}"), Section::Backlog),
            _ => (
                format!("{pattern}: {kind}, {load}, {setting}"),
                Section::Pattern(comparison.pattern.to_owned()),
            ),
        };
        gallery.add(section, &format!("{}.{kind}", comparison.stem()), canvas, (title, about))
    };
    match comparison.kind() {
        LoadKind::Max => {
            let about = "Messages a second at the receivers: median (bar), 95\u{202f}% bootstrap interval \
                         (whiskers), every trial (dot), and the counts of lost, duplicated, reordered and \
                         corrupt messages.";
            add("throughput", Some(throughput::draw(comparison)), about)?;
        }
        LoadKind::Drain => {
            let about = "How fast messages were queued and confirmed while no consumer was connected, and \
                         how fast the consumers then received them: medians, with the 95\u{202f}% interval.";
            add("backlog", Some(drain::draw(comparison)), about)?;
        }
        LoadKind::Rate | LoadKind::Capacity | LoadKind::Sweep => {
            let about = "Response time, from the scheduled send to the receipt, by percentile; all good \
                         trials merged. A curve ends where fewer than ten samples remain beyond it.";
            add("latency", percentiles::draw(data, comparison), about)?;
            let about = "Response time over each trial: the mean (line) and the largest (dots) of every \
                         interval, one line a trial; the warm-up is shaded. The dashed line is the longest \
                         time that an idle thread overslept during the trials: the machine may have caused a \
                         peak below it.";
            let more = " The strip below: messages due (grey) and received (coloured) a second, in the first good trial.";
            let about = if comparison.is_uneven() { format!("{about}{more}") } else { about.to_owned() };
            add("timeline", timeline::draw(data, comparison), &about)?;
            let about = "The median time of each hop. The first three hops lie between due and received; \
                         collected comes after. Medians do not add up to the median of the total.";
            add("hops", hops::draw(comparison), about)?;
        }
    }
    if comparison.is_max() || (!has_max && comparison.kind() != LoadKind::Drain) {
        let about = "CPU time per received message, user and system, by role and broker.";
        add("cost", cost::draw(comparison), about)?;
    }
    Ok(())
}
