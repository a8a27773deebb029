//! The summary that `lab bench` prints at its end. The report has all results.

use super::table::{Column, Fate, NOTHING, Row, render, wrap};
use crate::report::number;
use crate::results::{BenchmarkCase, Counts, Flag, LoadKind, Run, Summary};

/// The tables of a run, within `width` columns.
pub(super) fn of(run: &Run, width: usize) -> String {
    let mut parts = vec![measured(run, width), searched(run, width)];
    let baselines = run.cells.iter().filter(|cell| cell.part_of.is_none() && cell.is_floor()).count();
    if baselines > 0 {
        let text = format!(
            "Not shown: {} (plain sockets; BASELINE compares with them). The report has them.",
            number::plural(baselines, "baseline", "baselines")
        );
        parts.push(wrap(&plain(text), width).join("\n") + "\n");
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// As terminals and `grep` like it: with common spaces.
fn plain(text: String) -> String {
    text.replace('\u{202f}', " ")
}

fn measured(run: &Run, width: usize) -> String {
    let cells: Vec<&BenchmarkCase> =
        run.cells.iter().filter(|cell| cell.part_of.is_none() && !cell.is_floor()).collect();
    if cells.is_empty() {
        return String::new();
    }
    let columns = [
        Column("LAB", Fate::Stays),
        Column("SIZE", Fate::Below(5, "size")),
        Column("SHAPE", Fate::Below(3, "shape")),
        Column("LOAD", Fate::Below(6, "load")),
        Column("RECEIVED", Fate::Stays),
        Column("P50", Fate::Below(4, "p50")),
        Column("P99", Fate::Below(7, "p99")),
        Column("BASELINE", Fate::Below(1, "baseline")),
        Column("GUARANTEE", Fate::Below(2, "guarantee")),
    ];
    let rows: Vec<Row> = cells.iter().map(|cell| row(run, cell)).collect();
    // A value that is the same in all rows is printed once.
    let same = |at: usize| cells.len() > 1 && rows.iter().all(|row| row.cells[at] == rows[0].cells[at]);
    let common: Vec<usize> = [1, 2, 3].into_iter().filter(|at| same(*at)).collect();
    let said: Vec<String> =
        common.iter().map(|at| format!("{} {}", columns[*at].0.to_lowercase(), rows[0].cells[*at])).collect();
    let without = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().enumerate().filter(|(at, _)| !common.contains(at)).map(|(_, cell)| cell).collect()
    };
    let rows: Vec<Row> =
        rows.into_iter().map(|row| Row { cells: without(row.cells), below: row.below }).collect();
    let columns: Vec<Column> = columns
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !common.contains(at))
        .map(|(_, column)| column)
        .collect();
    let caption = if said.is_empty() { String::new() } else { format!("All with {}.\n\n", said.join(", ")) };
    caption + &render(&columns, &rows, width)
}

fn row(run: &Run, cell: &BenchmarkCase) -> Row {
    let mut cells = vec![
        cell.lab.clone(),
        plain(number::bytes(cell.size)),
        shape(cell.senders, cell.receivers, &cell.set),
        cell.load.label(),
    ];
    let Some(summary) = &cell.summary else {
        cells.extend(["failed", NOTHING, NOTHING, NOTHING].map(str::to_owned));
        cells.push(cell.guarantee.clone());
        return Row { cells, below: Vec::new() };
    };
    let open = cell.load.kind == LoadKind::Rate;
    let time = |ns: Option<u64>| {
        let ns = ns.filter(|_| open);
        ns.map_or_else(|| NOTHING.to_owned(), |ns| plain(number::time(ns as f64)))
    };
    // A share of the baseline's throughput, or a multiple of its p50.
    let share = run.share(cell).map(|share| format!("{share:.2}"));
    let times = run.times(cell).map(|times| format!("{times:.1} ×"));
    cells.extend([
        rate(summary.throughput_per_s.median),
        time(summary.response_ns.p50),
        time(summary.response_ns.p99),
        share.or(times).unwrap_or_else(|| NOTHING.to_owned()),
        cell.guarantee.clone(),
    ]);
    Row { cells, below: notes(summary) }
}

/// `6.95 M/s`.
fn rate(per_s: f64) -> String {
    let short = plain(number::short(per_s));
    // `980/s`, and `43.1 k/s`.
    format!("{short}/s")
}

/// `1→4 batch=16`.
fn shape(senders: usize, receivers: usize, set: &std::collections::BTreeMap<String, usize>) -> String {
    let set: String = set.iter().map(|(knob, value)| format!(" {knob}={value}")).collect();
    format!("{senders}→{receivers}{set}")
}

/// What went wrong with messages, and why the figures may not be believed.
fn notes(summary: &Summary) -> Vec<String> {
    let Counts { lost, duplicated, reordered, corrupt, misrouted, .. } = summary.counts;
    let Counts { confirmed_lost, peers_disconnected, messages_skipped, .. } = summary.counts;
    let broken = if summary.flags.contains(&Flag::BrokenPromise) { confirmed_lost } else { 0 };
    let counts = [
        (broken, "CONFIRMED AND LOST"),
        (lost, "lost"),
        (duplicated, "duplicated"),
        (reordered, "reordered"),
        (corrupt, "corrupt"),
        (misrouted, "misrouted"),
        (peers_disconnected, "peers disconnected"),
        (messages_skipped, "messages skipped"),
    ];
    let wrong = counts.into_iter().filter(|(count, _)| *count > 0);
    let wrong = wrong.map(|(count, what)| plain(format!("{} {what}", number::count(count))));
    wrong.chain(summary.flags.iter().map(|flag| flag.as_str().to_owned())).collect()
}

/// The sustainable rate of each lab, and its knee.
fn searched(run: &Run, width: usize) -> String {
    if run.capacities.is_empty() {
        return String::new();
    }
    let columns = [
        Column("LAB", Fate::Stays),
        Column("SIZE", Fate::Below(4, "size")),
        Column("SHAPE", Fate::Below(3, "shape")),
        Column("SUSTAINS", Fate::Stays),
        Column("FAILED AT", Fate::Below(6, "failed at")),
        Column("P99 WITHIN", Fate::Below(2, "p99 within")),
        Column("KNEE", Fate::Below(5, "knee")),
        Column("GUARANTEE", Fate::Below(1, "guarantee")),
    ];
    let or_none = |rate_: Option<f64>| rate_.map_or_else(|| NOTHING.to_owned(), rate);
    let rows: Vec<Row> = run
        .capacities
        .iter()
        .map(|capacity| {
            let subject = &capacity.subject;
            let sweep = run
                .sweeps
                .iter()
                .find(|sweep| sweep.subject == *subject && sweep.arrivals == capacity.arrivals);
            let knee = sweep.and_then(|sweep| sweep.knee);
            let cells = vec![
                subject.lab.clone(),
                plain(number::bytes(subject.size)),
                shape(subject.senders, subject.receivers, &subject.set),
                or_none(capacity.sustainable_per_s),
                or_none(capacity.lowest_fail_per_s),
                plain(number::time(capacity.objective.p99_ns as f64)),
                knee.map_or_else(|| NOTHING.to_owned(), |share| format!("{:.0} %", share * 100.0)),
                subject.guarantee.clone(),
            ];
            Row { cells, below: capacity.note.iter().cloned().collect() }
        })
        .collect();
    render(&columns, &rows, width)
}
