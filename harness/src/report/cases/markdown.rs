//! Rows as a table of Markdown, for people.

use std::fmt::Write as _;

use super::super::number;
use super::row::Row;

const COLUMNS: [(&str, bool); 14] = [
    ("result set", false),
    ("lab", false),
    ("guarantee", false),
    ("setting", false),
    ("load", false),
    ("messages/s", true),
    ("p50", true),
    ("p99", true),
    ("CPU per message", true),
    ("lost", true),
    ("duplicated", true),
    ("reordered", true),
    ("under faults", false),
    ("flags", false),
];

/// All rows, with units that fit.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let rules: Vec<&str> = COLUMNS.iter().map(|(_, right)| if *right { "---:" } else { "---" }).collect();
    let mut text = format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | "));
    for row in rows {
        let fields = fields(row);
        let fields: Vec<String> = fields.iter().map(|field| super::super::render::markdown(field)).collect();
        let _ = writeln!(text, "| {} |", fields.join(" | "));
    }
    text
}

fn fields(row: &Row) -> [String; COLUMNS.len()] {
    let with = |value: Option<f64>, low: Option<f64>, high: Option<f64>, text: fn(f64) -> String| match (
        value, low, high,
    ) {
        (Some(value), Some(low), Some(high)) => format!("{} [{} – {}]", text(value), text(low), text(high)),
        (Some(value), ..) => text(value),
        (None, ..) => "–".to_owned(),
    };
    let speed = match &row.failure {
        Some(reason) => format!("failed: {reason}"),
        None => {
            with(row.throughput_per_s, row.throughput_per_s_low, row.throughput_per_s_high, number::short)
        }
    };
    let p50 = with(row.response_p50_ns, row.response_p50_ns_low, row.response_p50_ns_high, number::time);
    let p99 = with(row.response_p99_ns, row.response_p99_ns_low, row.response_p99_ns_high, number::time);
    [
        row.result_set.clone(),
        row.lab.clone(),
        row.guarantee.clone(),
        row.setting(),
        if row.part_of.is_empty() { row.load.clone() } else { format!("{}, {}", row.load, row.part_of) },
        speed,
        p50,
        p99,
        with(row.cpu_ns_per_message, row.cpu_ns_per_message_low, row.cpu_ns_per_message_high, number::time),
        number::count(row.lost),
        number::count(row.duplicated),
        match row.order_promised {
            true => number::count(row.reordered),
            false => format!("{} (no order promised)", number::count(row.reordered)),
        },
        row.under_faults.clone(),
        row.flags.clone(),
    ]
}
