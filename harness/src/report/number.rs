//! Numbers for readers: units that fit, thin spaces between thousands.

use crate::results::{Arrivals, Estimate, Load, LoadKind};

/// U+202F, the narrow space that never breaks: between thousands, and before a unit.
const THIN: char = '\u{202f}';

/// `1 234 567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// The sum of counts, which may come from anybody's file: it stops at the largest number.
pub(crate) fn total(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// `1 lab`, `61 labs`.
pub(crate) fn plural(value: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(value as u64), if value == 1 { one } else { many })
}

/// A rate as a whole number of messages a second; below ten with two decimals.
pub(crate) fn rate(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { count(value.round() as u64) }
}

/// A number per message, or a dash if it is unknown.
pub(crate) fn per_message(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// A rate in little room: `9.12 M`, `43.1 k`, `980`.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if v >= 999.5e6 => format!("{}{THIN}G", three_digits(v / 1e9)),
        v if v >= 999.5e3 => format!("{}{THIN}M", three_digits(v / 1e6)),
        v if v >= 999.5 => format!("{}{THIN}k", three_digits(v / 1e3)),
        v => three_digits(v),
    }
}

/// A time given in ns: `850 ns`, `12.3 µs`, `1.23 ms`, `4.56 s`.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        v if v >= 999.5e6 => (v / 1e9, "s"),
        v if v >= 999.5e3 => (v / 1e6, "ms"),
        v if v >= 999.5 => (v / 1e3, "µs"),
        v => (v, "ns"),
    };
    format!("{}{THIN}{unit}", three_digits(value))
}

/// A time at an axis, where zero needs no unit.
pub(crate) fn tick_time(ns: f64) -> String {
    if ns == 0.0 { "0".to_owned() } else { time(ns) }
}

/// A size: `64 B`, `1.5 KiB`, `3.84 GiB`.
pub(crate) fn bytes(value: u64) -> String {
    let mut size = value as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1_000.0 {
            return format!("{}{THIN}{unit}", three_digits(size));
        }
        size /= 1_024.0;
    }
    format!("{}{THIN}TiB", three_digits(size))
}

/// A share of 1 as `1.2 %`.
pub(crate) fn share(value: f64) -> String {
    let percent = value * 100.0;
    if percent > 0.0 && percent < 0.01 {
        format!("<{THIN}0.01{THIN}%")
    } else {
        format!("{}{THIN}%", three_digits(percent))
    }
}

/// `max`, or `1 000/s`, with the arrivals where they are not constant.
pub(crate) fn load(load: &Load) -> String {
    let arrivals = match load.arrivals {
        Some(Arrivals::Poisson) => ", Poisson".to_owned(),
        Some(Arrivals::Burst) => format!(", bursts of {}", count(load.burst.unwrap_or(1))),
        Some(Arrivals::Ramp) => ", ramp".to_owned(),
        Some(Arrivals::Constant) | None => String::new(),
    };
    let what = match (load.kind, load.rate, load.messages) {
        (LoadKind::Rate, Some(offered), _) => format!("{}/s", rate(offered)),
        (LoadKind::Drain, _, Some(messages)) => format!("backlog of {}", count(messages)),
        (LoadKind::Drain, ..) => "backlog".to_owned(),
        (LoadKind::Capacity, ..) => "sustainable rate".to_owned(),
        (LoadKind::Sweep, ..) => "latency against load".to_owned(),
        (LoadKind::Max | LoadKind::Rate, ..) => "max".to_owned(),
    };
    what + &arrivals
}

/// Three significant digits, without zeros that say nothing after the point.
fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A ratio: `0.62`, `1.42`, `12`; two digits where it is small.
pub(crate) fn ratio(value: f64) -> String {
    match value {
        ..0.095 => format!("{:.*}", (1.0 - value.max(1e-9).log10().floor()) as usize, value),
        ..9.995 => format!("{value:.2}"),
        ..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// By how much a factor makes an interval wider: `5 %`.
pub(crate) fn wider(factor: f64) -> String {
    format!("{:.0}{THIN}%", (factor - 1.0) * 100.0)
}

/// `1.42 [1.30 – 1.51]`, kept on one line.
pub(crate) fn ratio_with_interval(estimate: &Estimate) -> String {
    let [median, low, high] = [estimate.median, estimate.low, estimate.high].map(ratio);
    // A line may end behind a dash, unless a word joiner follows.
    format!("{median} [{low}\u{a0}–\u{2060}\u{a0}{high}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        let check = |text: String, expected: &str| assert_eq!(text.replace(THIN, " "), expected);
        check(count(0), "0");
        check(count(999), "999");
        check(count(1_234_567), "1 234 567");
        check(rate(0.5), "0.50");
        check(rate(9_123_456.4), "9 123 456");
        check(short(9_123_456.0), "9.12 M");
        check(short(999_600.0), "1 M");
        check(short(43_120.0), "43.1 k");
        check(short(980.0), "980");
        check(time(0.0), "0 ns");
        check(time(850.0), "850 ns");
        check(time(12_340.0), "12.3 µs");
        check(time(1_200_000.0), "1.2 ms");
        check(time(4.56e9), "4.56 s");
        for (value, expected) in [
            (0.004_16, "0.0042"),
            (0.0952, "0.10"),
            (0.617, "0.62"),
            (1.004, "1.00"),
            (1.416, "1.42"),
            (12.34, "12.3"),
            (1_234.5, "1234"),
        ] {
            assert_eq!(ratio(value), expected, "{value}");
        }
        check(bytes(64), "64 B");
        check(bytes(1_536), "1.5 KiB");
        check(bytes(4_127_195_136), "3.84 GiB");
        check(share(0.0), "0 %");
        check(share(0.012), "1.2 %");
        check(share(0.000_001), "< 0.01 %");
        check(share(1.0), "100 %");
    }
}
