//! The live lines of the progress display, as a pure function: from the state of a trial
//! to text that fits the terminal.

use std::collections::VecDeque;

use crate::command::thousands;
use crate::trial::Watch;

/// Rates are over this time, seconds: long enough to be read, short enough to be of now.
const SPAN: f64 = 0.5;

/// How fast messages move at the moment.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<(f64, u64, u64)>);

impl Pace {
    /// A new trial begins.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Messages sent and received so far, at a time in seconds; the rates of both
    /// since half a second before, or `None` while there is nothing to compare with.
    pub(super) fn note(&mut self, at: f64, sent: u64, received: u64) -> Option<(f64, f64)> {
        self.0.push_back((at, sent, received));
        // The oldest that is kept is the youngest that is old enough.
        while self.0.len() > 2 && at - self.0[1].0 >= SPAN {
            self.0.pop_front();
        }
        let (since, sent_then, received_then) = *self.0.front()?;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / (at - since);
        (at > since).then(|| (rate(sent, sent_then), rate(received, received_then)))
    }
}

/// The state of a trial, in lines of at most `width` columns.
pub(super) fn lines(watch: &Watch<'_>, rates: Option<(f64, f64)>, width: usize) -> String {
    let progress = match watch.at {
        at if at < 0.0 => String::new(),
        at if at > watch.ends => format!("{at:.1} s"),
        at => format!("{at:.1} of {:.1} s", watch.ends),
    };
    let rate =
        |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format!("{}/s", thousands(rate)));
    let count = |count: u64| thousands(count as f64);
    let rows = [
        [("", watch.what.to_owned()), ("", progress), ("", String::new())],
        [
            ("sent", rate(rates.map(|(sent, _)| sent))),
            ("received", rate(rates.map(|(_, received)| received))),
            ("in flight", count(watch.expected.saturating_sub(watch.received))),
        ],
        [
            ("late or lost", watch.overtaken.map_or_else(|| "–".to_owned(), count)),
            ("duplicated", count(watch.duplicated)),
            ("reordered", count(watch.reordered)),
        ],
    ];
    let line = |row: &[(&str, String); 3]| {
        let cells: Vec<String> = row
            .iter()
            .map(|(name, value)| match name.is_empty() {
                true => format!("{value:<23}"),
                false => format!("{name:<12} {value:>10}"),
            })
            .collect();
        fit(&format!("  {}", cells.join("  ")), width)
    };
    rows.each_ref().map(line).join("\n")
}

/// As much of a line as there is room for.
pub(super) fn fit(line: &str, width: usize) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(width) {
        Some(_) => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: Watch<'_> = Watch {
        at: 0.8,
        ends: 1.5,
        sent: 12_400,
        expected: 24_800,
        received: 24_700,
        overtaken: Some(3),
        duplicated: 0,
        reordered: 1_234,
        what: "measuring",
    };

    #[test]
    fn a_trial_is_three_lines_that_fit() {
        let text = lines(&WATCH, Some((10_000.0, 20_004.4)), 80);
        insta::assert_snapshot!(text, @r"
          measuring                0.8 of 1.5 s
          sent           10 000/s  received       20 004/s  in flight           100
          late or lost          3  duplicated            0  reordered         1 234
        ");
        for width in [80, 40, 20, 1] {
            let longest = lines(&WATCH, None, width).lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(width), "{longest:?} at {width}");
        }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let joining = Watch { at: -1.0, what: "joining", overtaken: None, ..Watch::default() };
        insta::assert_snapshot!(lines(&joining, None, 80), @r"
          joining
          sent                  –  received              –  in flight             0
          late or lost          –  duplicated            0  reordered             0
        ");
    }

    #[test]
    fn rates_are_those_of_the_last_half_second() {
        let mut pace = Pace::default();
        assert_eq!(pace.note(0.0, 0, 0), None);
        assert_eq!(pace.note(0.1, 100, 50), Some((1_000.0, 500.0)));
        for step in 2_u32..=20 {
            // From the first second on, ten times as fast.
            let sent = u64::from(if step <= 10 { step * 100 } else { 1_000 + (step - 10) * 1_000 });
            let found =
                pace.note(f64::from(step) / 10.0, sent, 50).map(|(sent, received)| (sent.round(), received));
            match step {
                10 => assert_eq!(found, Some((1_000.0, 0.0))),
                16.. => assert_eq!(found, Some((10_000.0, 0.0))),
                _ => {}
            }
        }
        pace.clear();
        assert_eq!(pace.note(5.0, 7, 7), None);
        assert_eq!(pace.note(5.0, 7, 7), None, "no time has gone by");
    }
}
