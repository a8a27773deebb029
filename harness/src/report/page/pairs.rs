//! What any two labs of a table are to each other: the ratios that the page shows beside the figures
//! when a reader chooses a lab to compare with. A browser has no bootstrap: they are worked out here.

use serde::{Serialize, Serializer};

use super::super::cases::Figure;
use super::super::figures::Figures;
use super::super::model::{Comparison, pattern_title};
use crate::results::{BenchmarkCase, Estimate, LoadKind};

/// Two cases of one table, by their number in the page's data, with the ratios of the first by the
/// second: of messages/s and CPU time per message at maximum load, of p50 and p99 at a rate.
#[derive(Serialize)]
pub(in super::super) struct Pair(usize, usize, Ratio, Ratio);

/// A ratio, or nothing where nobody can tell.
struct Ratio(Option<Estimate>);

/// `[1.31,1.1,1.42]`: the ratio and the ends of its interval, or 0.
impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(Estimate { median, low, high }) => {
                [median, low, high].map(four_digits).serialize(serializer)
            }
            None => 0.serialize(serializer),
        }
    }
}

/// The labs of a pattern that have such ratios.
#[derive(Serialize)]
pub(super) struct Rivals {
    title: String,
    labs: Vec<String>,
}

/// With more pairs than this a report would grow by more than it says: nothing is compared, and the page
/// says so.
const MOST: usize = 2_000;

/// Of all tables, and the labs to choose from; nothing where there are too many.
pub(super) fn pairs(
    comparisons: &[Comparison<'_>],
    known: &Figures,
    number: &dyn Fn(&BenchmarkCase) -> Option<usize>,
) -> Option<(Vec<Pair>, Vec<Rivals>)> {
    let tables: Vec<_> = comparisons.iter().filter(|table| figures(table.kind()).is_some()).collect();
    let count: usize = tables.iter().map(|table| table.cells.len() * table.cells.len() / 2).sum();
    let (mut pairs, mut rivals) = (Vec::new(), Vec::<(&str, Rivals)>::new());
    if count > MOST {
        return None;
    }
    for table in tables {
        let Some(figures) = figures(table.kind()) else { continue };
        let of_pattern = match rivals.iter().position(|(pattern, _)| *pattern == table.pattern) {
            Some(at) => at,
            None => {
                rivals.push((
                    table.pattern,
                    Rivals { title: pattern_title(table.pattern).to_owned(), labs: Vec::new() },
                ));
                rivals.len() - 1
            }
        };
        for (at, first) in table.cells.iter().enumerate() {
            for second in &table.cells[at + 1..] {
                let (Some(a), Some(b)) = (number(first), number(second)) else { continue };
                let [one, other] = figures.map(|figure| ratio(known, [first, second], figure));
                pairs.push(Pair(a, b, one, other));
                let labs = &mut rivals[of_pattern].1.labs;
                for lab in [&first.lab, &second.lab] {
                    if !labs.contains(lab) {
                        labs.push(lab.clone());
                    }
                }
            }
        }
    }
    let mut rivals: Vec<Rivals> = rivals.into_iter().map(|(_, rivals)| rivals).collect();
    rivals.retain(|rivals| rivals.labs.len() > 1);
    rivals.iter_mut().for_each(|rivals| rivals.labs.sort_unstable());
    Some((pairs, rivals))
}

const fn figures(kind: LoadKind) -> Option<[Figure; 2]> {
    match kind {
        LoadKind::Max => Some([Figure::Throughput, Figure::Cpu]),
        LoadKind::Rate => Some([Figure::P50, Figure::P99]),
        _ => None,
    }
}

fn ratio(known: &Figures, cells: [&BenchmarkCase; 2], figure: Figure) -> Ratio {
    Ratio(figure.spoilt_by(cells).is_none().then(|| known.ratio(cells, figure)).flatten())
}

/// As many digits as three need in either direction, for a browser divides 1 by it.
fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::super::super::model::comparisons;
    use super::super::super::tests::build;
    use super::*;
    use crate::results::{Arrivals, Flag, Load, Run};

    fn of(change: impl FnOnce(&mut Run)) -> (serde_json::Value, Vec<Rivals>) {
        let mut run = build::run();
        for (lab, speed) in [("queue-a", 2e6), ("queue-b", 1e6), ("pipeline-c", 1e6)] {
            run.cells.push(build::measured(lab, Load::max(), speed));
            run.cells.push(build::measured(lab, Load::rate(1_000.0, Arrivals::Constant), 1e11 / speed));
        }
        change(&mut run);
        let number = |cell: &BenchmarkCase| run.cells.iter().position(|other| other.id == cell.id);
        let found = pairs(&comparisons(&run), &build::figures(&run, 1), &number);
        let (pairs, rivals) = found.expect("few enough");
        (serde_json::to_value(pairs).expect("JSON"), rivals)
    }

    #[test]
    fn two_labs_of_a_pattern_have_ratios_under_each_load() {
        let (pairs, rivals) = of(|_| {});
        let [max, rate] = &pairs.as_array().expect("a list")[..] else { panic!("{pairs}") };
        let faster = [max[2][0].as_f64(), rate[2][0].as_f64()].map(|ratio| ratio.expect("a ratio"));
        // More messages a second, and half of the time.
        assert!((faster[0] - 2.0).abs() < 0.05 && (faster[1] - 0.5).abs() < 0.05, "{pairs}");
        assert!(max[2][1].as_f64() < max[2][0].as_f64() && max[2][0].as_f64() < max[2][2].as_f64(), "{max}");
        // A pattern with one lab has nothing to choose from.
        assert!(rivals.len() == 1 && rivals[0].labs == ["queue-a", "queue-b"]);
    }

    #[test]
    fn too_many_are_not_compared() {
        let mut run = build::run();
        for lab in 0..64 {
            run.cells.push(build::measured(&format!("queue-{lab}"), Load::max(), 1e6));
        }
        assert!(pairs(&comparisons(&run), &build::figures(&run, 1), &|_| Some(0)).is_none());
    }

    #[test]
    fn what_cannot_be_told_has_no_ratio() {
        let (single, _) = of(|run| run.cells[0].trials.truncate(1));
        assert_eq!(single[0][2], 0, "{single}");
        let (flagged, _) = of(|run| {
            let summary = run.cells[1].summary.as_mut().expect("a summary");
            summary.flags.push(Flag::UncertainClock);
        });
        assert!(flagged[1][2] == 0 && flagged[0][2] != 0, "{flagged}");
    }
}
