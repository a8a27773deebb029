//! A page for each lab: its cases in all result sets, on all machines and of all versions.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::folder::Folder;
use super::look::{Look, machine};
use super::sets::Measured;
use crate::report::cases::Row;
use crate::report::{number, pattern_order, pattern_title, render};

/// The labs of one pattern, for the first page.
#[derive(Serialize)]
pub(super) struct OfPattern {
    title: String,
    labs: Vec<Link>,
}

#[derive(Serialize)]
struct Link {
    name: String,
    link: String,
}

#[derive(Serialize)]
struct Page<'a> {
    lab: &'a str,
    about: String,
    rows: Vec<Line>,
    style: &'a str,
    policy: &'a str,
}

/// A case in one result set.
#[derive(Serialize)]
struct Line {
    setting: String,
    load: String,
    part_of: &'static str,
    machine: String,
    date: String,
    version: String,
    guarantee: String,
    failure: Option<String>,
    /// Each with its interval below it.
    speed: [String; 2],
    p50: [String; 2],
    p99: [String; 2],
    cpu: [String; 2],
    baseline: String,
    amiss: String,
    faults: String,
    flags: String,
    set: String,
    link: String,
}

/// Writes the pages of all labs.
pub(super) fn write(sets: &[Measured], folder: &Folder, look: &Look) -> Result<Vec<OfPattern>> {
    let mut labs: BTreeMap<&str, Vec<(&Measured, &Row)>> = BTreeMap::new();
    for set in sets {
        for row in &set.rows {
            labs.entry(&row.lab).or_default().push((set, row));
        }
    }
    let mut patterns: BTreeMap<(usize, String), Vec<Link>> = BTreeMap::new();
    for (lab, mut rows) in labs {
        // One case after the other, and each from the newest result set to the oldest.
        rows.sort_by(|a, b| {
            let key = |row: &Row| (row.size_bytes, row.senders, row.receivers, row.settings.clone());
            (key(a.1).cmp(&key(b.1)))
                .then_with(|| b.1.load.cmp(&a.1.load))
                .then_with(|| a.1.host.cmp(&b.1.host))
                .then_with(|| b.1.created.cmp(&a.1.created))
        });
        let first = rows[0].1;
        let name = file_name(lab);
        let page = Page {
            lab,
            about: format!(
                "{}, {}; overload: {}; broker: {}",
                pattern_title(&first.pattern),
                first.transport,
                first.overload,
                first.broker
            ),
            rows: rows.iter().map(|(set, row)| line(set, row)).collect(),
            style: &look.style,
            policy: &look.policy,
        };
        let (order, pattern) = pattern_order(&first.pattern);
        folder.write(&name, &render::render("lab.html", include_str!("templates/lab.html"), &page)?)?;
        let link = Link { name: lab.to_owned(), link: render::address(name.as_ref()) };
        patterns.entry((order, pattern.to_owned())).or_default().push(link);
    }
    let of_pattern = |((_, pattern), labs): ((usize, String), Vec<Link>)| OfPattern {
        title: pattern_title(&pattern).to_owned(),
        labs,
    };
    Ok(patterns.into_iter().map(of_pattern).collect())
}

/// `labs/pubsub-redis.html`. A name that anybody may have written gets no path of its own.
fn file_name(lab: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    format!("labs/{}.html", lab.chars().take(100).map(plain).collect::<String>())
}

fn line(set: &Measured, row: &Row) -> Line {
    let value = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), text);
    let range = |[median, low, high]: [Option<f64>; 3], text: fn(f64) -> String| {
        let ends = low.zip(high).map(|(low, high)| format!("[{} – {}]", text(low), text(high)));
        [value(median, text), ends.unwrap_or_default()]
    };
    let amiss: Vec<String> = [
        ("lost", row.lost),
        ("duplicated", row.duplicated),
        ("reordered", if row.order_promised { row.reordered } else { 0 }),
        ("corrupt", row.corrupt),
    ]
    .iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| format!("{name} {}", number::count(*count)))
    .collect();
    Line {
        setting: row.setting(),
        load: row.load.clone(),
        part_of: row.part_of,
        machine: machine(&set.run.host),
        date: row.created.chars().take(10).collect(),
        version: set.run.versions.program(),
        guarantee: row.guarantee.clone(),
        failure: row.failure.clone(),
        speed: range(
            [row.throughput_per_s, row.throughput_per_s_low, row.throughput_per_s_high],
            number::short,
        ),
        p50: range([row.response_p50_ns, row.response_p50_ns_low, row.response_p50_ns_high], number::time),
        p99: range([row.response_p99_ns, row.response_p99_ns_low, row.response_p99_ns_high], number::time),
        cpu: range(
            [row.cpu_ns_per_message, row.cpu_ns_per_message_low, row.cpu_ns_per_message_high],
            number::time,
        ),
        baseline: value(row.baseline_share.or(row.baseline_times), number::ratio),
        amiss: if amiss.is_empty() { "nothing".to_owned() } else { amiss.join(", ") },
        faults: row.under_faults.clone(),
        flags: row.flags.replace(' ', ", "),
        set: row.result_set.clone(),
        link: format!("../{}", set.link),
    }
}
