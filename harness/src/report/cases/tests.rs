//! What is written of a case is what was measured of it.

use super::super::tests::build;
use super::*;
use crate::results::{Arrivals, Flag, Load};

fn example() -> Vec<Row> {
    let mut run = build::run();
    run.cells.push(build::measured("oneway-tcp", Load::max(), 1.25e6 / 3.0));
    run.cells.push(build::measured("queue-redis", Load::rate(1_000.0, Arrivals::Constant), 250_000.0));
    run.cells[1].lab = "=HYPERLINK(\"x\")\n|<b>".to_owned();
    run.cells[1].broker = Some("redis".to_owned());
    rows(&run, &Promises::default())
}

#[test]
fn csv_read_back_gives_the_same_figures() {
    let rows = example();
    let text = csv(&rows).expect("it is written");
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().expect("a head").clone();
    let read: Vec<::csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    let field = |row: usize, name: &str| {
        let at = names.iter().position(|known| known == name).expect("a column");
        read[row].get(at).expect("a field").to_owned()
    };
    assert_eq!(read.len(), 2);
    assert_eq!(field(0, "throughput_per_s").parse::<f64>().ok(), rows[0].throughput_per_s);
    assert_eq!(field(0, "throughput_per_s_low").parse::<f64>().ok(), rows[0].throughput_per_s_low);
    assert_eq!(field(0, "response_p50_ns"), "", "a closed loop has no response time");
    assert_eq!(field(1, "response_p99_ns").parse::<f64>().ok(), rows[1].response_p99_ns);
    assert_eq!(field(1, "cpu_ns_per_message").parse::<f64>().ok(), rows[1].cpu_ns_per_message);
    assert_eq!((field(0, "broker"), field(1, "broker")), ("none".to_owned(), "redis".to_owned()));
    // A spreadsheet takes no name for a formula, and a name has no line of its own.
    assert_eq!(field(1, "lab"), "'=HYPERLINK(\"x\") |<b>");
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn markdown_is_one_table_whatever_names_hold() {
    let text = markdown(&example());
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(text.lines().all(|line| bars(line) == 15), "{text}");
    assert_eq!(text.lines().count(), 4);
    assert!(text.contains("417\u{202f}k") && text.contains("&lt;b&gt;"), "{text}");
}

/// What counts is the gap between messages; what was recorded by earlier versions follows the same rule.
#[test]
fn a_wake_up_is_no_flag_and_a_generator_that_falls_behind_is() {
    for (rate, lag, kept) in [
        (1_000.0, Some(60_000), false),
        (1_000.0, Some(1_000_000), false),
        (1_000.0, Some(1_000_001), true),
        (100_000.0, Some(60_000), true),
        (1_000.0, None, true),
    ] {
        let mut cell = build::plain("oneway-tcp");
        cell.load = Load::rate(rate, Arrivals::Constant);
        let summary = cell.summary.as_mut().expect("a summary");
        (summary.flags, summary.lag_ns.p99) = (vec![Flag::GeneratorLimited], lag);
        assert_eq!(!flags(&cell).is_empty(), kept, "{rate}/s, {lag:?}");
    }
}
