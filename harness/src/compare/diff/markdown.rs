//! Two result sets side by side, as Markdown.

use std::fmt::Write as _;

use super::{Compared, Diff, Figure, Verdict};
use crate::report::{number, render};
use crate::results::Estimate;

/// The whole comparison.
pub fn markdown(diff: &Diff) -> String {
    let plain = render::markdown;
    let [a, b] = &diff.sides;
    let mut text = format!("# {} and {}\n\n", plain(&a.name), plain(&b.name));
    for (letter, side) in [("A", a), ("B", b)] {
        let _ = writeln!(
            text,
            "- {letter}: {}, {}, {}, lab {}",
            plain(&side.name),
            plain(&side.created),
            plain(&side.host),
            plain(&side.version)
        );
    }
    for differs in &diff.differs {
        let _ = writeln!(text, "- differs: {}", plain(differs));
    }
    let _ = write!(
        text,
        "\n{} {}\n\n| lab | setting | load | figure | A | B | B / A | verdict | by raw sockets, B / A | verdict | notes |\n\
         | --- | --- | --- | --- | ---: | ---: | ---: | --- | ---: | --- | --- |\n",
        plain(&diff.sentence()),
        plain(&diff.intervals)
    );
    for one in &diff.compared {
        let [of_a, of_b] = one.values.map(|value| one.shown(value));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {of_a} | {of_b} | {} | {} | {} | {} | {} |",
            plain(&one.lab),
            plain(&one.setting),
            plain(&one.load),
            one.figure.title(),
            ratio(one.ratio.as_ref()),
            one.verdict.as_str(),
            ratio(one.of_baseline.as_ref()),
            one.baseline_verdict.map_or("–", Verdict::as_str),
            plain(&one.notes.join("; "))
        );
    }
    for (letter, only) in ["A", "B"].iter().zip(&diff.only) {
        if !only.is_empty() {
            let _ = writeln!(text, "\nOnly in {letter}: {}.", plain(&only.join("; ")));
        }
    }
    text
}

impl Compared {
    /// A value with its unit.
    pub fn shown(&self, value: f64) -> String {
        match self.figure {
            Figure::Throughput => format!("{}/s", number::short(value)),
            Figure::P50 | Figure::P99 | Figure::Cpu => number::time(value),
        }
    }
}

/// `1.30 [1.21 – 1.42]`, or a dash.
pub fn ratio(estimate: Option<&Estimate>) -> String {
    estimate.map_or_else(|| "–".to_owned(), number::ratio_with_interval)
}
