//! Numbers with their units, as users write them on the command line and in plan files.
//!
//! | what | examples | without a unit |
//! | --- | --- | --- |
//! | numbers and rates | `1000`, `10k`, `1.5M`, `1e3`, `10_000`, `10k/s` | as it is |
//! | sizes | `64`, `64k`, `64KiB`, `1MiB`, `64kB` (k and KiB are 1024 bytes, kB is 1000) | bytes |
//! | times | `30s`, `10ms`, `500us`, `2min`, `1h` | seconds; milliseconds where the option says so |

use anyhow::{Result, bail, ensure};

/// A number, with `k`, `M` or `G` for thousands, millions and milliards.
///
/// # Errors
/// When it is not a number; it is named.
pub fn number(text: &str) -> Result<f64> {
    let scales = [("", 1.0), ("k", 1e3), ("K", 1e3), ("M", 1e6), ("G", 1e9)];
    match scaled(text, &scales) {
        Some(number) => Ok(number),
        None => bail!("`{text}` is not a number; write it as `1000`, `10k`, `1.5M` or `1e3`"),
    }
}

/// Messages a second: a number, `/s` may follow.
///
/// # Errors
/// When it is not a number; it is named.
pub fn rate(text: &str) -> Result<f64> {
    match number(text.strip_suffix("/s").unwrap_or(text)) {
        Ok(rate) => Ok(rate),
        Err(_) => bail!("`{text}` is not a rate in messages a second; write it as `1000` or `10k`"),
    }
}

/// A whole number that is not negative.
///
/// # Errors
/// When it is not one; it is named.
pub fn whole(text: &str) -> Result<u64> {
    // As a float, a large one would lose its last digits.
    if let Ok(exact) = text.trim().replace('_', "").parse() {
        return Ok(exact);
    }
    let found = number(text)?;
    ensure!(
        found >= 0.0 && found.fract() == 0.0 && found <= 9e15,
        "`{text}` is not a whole number of 0 or more"
    );
    Ok(found as u64)
}

/// The same for what is counted in memory.
///
/// # Errors
/// As [`whole`].
pub fn count(text: &str) -> Result<usize> {
    Ok(usize::try_from(whole(text)?)?)
}

/// A size in bytes.
///
/// # Errors
/// When it is not one, or not a whole number of bytes; it is named.
pub fn bytes(text: &str) -> Result<u64> {
    let (k, m, g) = (1024.0, 1_048_576.0, 1_073_741_824.0);
    let scales = [
        ("", 1.0),
        ("B", 1.0),
        ("k", k),
        ("K", k),
        ("KiB", k),
        ("kB", 1e3),
        ("KB", 1e3),
        ("M", m),
        ("MiB", m),
        ("MB", 1e6),
        ("G", g),
        ("GiB", g),
        ("GB", 1e9),
    ];
    match scaled(text, &scales).filter(|size| *size >= 0.0 && size.fract() == 0.0 && *size <= 9e15) {
        Some(size) => Ok(size as u64),
        None => bail!("`{text}` is not a size in bytes; write it as `1024`, `64k` or `1MiB`"),
    }
}

/// A time, in seconds.
///
/// # Errors
/// When it is not one; it is named.
pub fn seconds(text: &str) -> Result<f64> {
    match time(text, 1.0) {
        Some(seconds) => Ok(seconds),
        None => bail!("`{text}` is not a time; write seconds as `1.5`, or `30s`, `10ms`, `2min`"),
    }
}

/// A time, in milliseconds; so is a number without a unit.
///
/// # Errors
/// When it is not one; it is named.
pub fn milliseconds(text: &str) -> Result<f64> {
    match time(text, 1e-3) {
        Some(seconds) => Ok(seconds * 1e3),
        None => bail!("`{text}` is not a time; write milliseconds as `10`, or `10ms`, `1s`"),
    }
}

/// The same in whole milliseconds.
///
/// # Errors
/// When it is not one; it is named.
pub fn whole_milliseconds(text: &str) -> Result<u64> {
    let found = milliseconds(text)?;
    ensure!(
        found >= 0.0 && found.fract() == 0.0 && found <= 9e15,
        "`{text}` is not a whole number of milliseconds"
    );
    Ok(found as u64)
}

/// The value of a knob: with `bytes`, `ms` or `us` at the end of its name, in this unit.
///
/// # Errors
/// When it is not one, or not whole; it is named.
pub fn knob(name: &str, text: &str) -> Result<usize> {
    let whole = |found: Option<f64>| match found.filter(|found| *found >= 0.0 && found.fract() == 0.0) {
        Some(found) => Ok(found as u64),
        None => whole(text),
    };
    let value = if name.ends_with("bytes") {
        bytes(text)
    } else if name.ends_with("-ms") {
        whole(time(text, 1e-3).map(|seconds| rounded(seconds * 1e3)))
    } else if name.ends_with("-us") {
        whole(time(text, 1e-6).map(|seconds| rounded(seconds * 1e6)))
    } else {
        whole(None)
    };
    Ok(usize::try_from(value?)?)
}

/// Without what a division has added.
fn rounded(number: f64) -> f64 {
    if (number - number.round()).abs() < 1e-6 { number.round() } else { number }
}

/// A time in seconds; a number without a unit is taken `bare` times.
fn time(text: &str, bare: f64) -> Option<f64> {
    let scales = [
        ("", bare),
        ("s", 1.0),
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("min", 60.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    // So that it stays a number in each of these units.
    scaled(text, &scales).filter(|seconds| seconds.abs() <= LONGEST)
}

/// The longest time, seconds: 30 years.
const LONGEST: f64 = 1e9;

/// A number and one of these endings.
fn scaled(text: &str, scales: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    // `1e3` and `inf` are numbers for the parser; an `e` at the end is not a unit.
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_');
    let ends = text.rfind(digits)? + 1;
    let (number, unit) = text.split_at(ends);
    let (_, scale) = scales.iter().find(|(name, _)| *name == unit.trim_start())?;
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some(number * scale).filter(|scaled| scaled.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        read: impl Fn(&str) -> Result<T>,
        good: &[(&str, T)],
        bad: &[&str],
    ) {
        for (text, expected) in good {
            assert_eq!(read(text).expect(text), *expected, "{text}");
        }
        for text in bad {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn numbers() {
        let good =
            [("1000", 1e3), ("10k", 1e4), ("1.5M", 1.5e6), ("1e3", 1e3), ("10_000", 1e4), (" 2 k", 2e3)];
        check(number, &good, &["", "k", "fast", "inf", "NaN", "10x", "1,2", "1k k", "0x10", "1e400"]);
        check(rate, &[("10k", 1e4), ("10k/s", 1e4), ("500", 500.0)], &["", "/s", "10k/h", "max"]);
        let good =
            [("0", 0), ("18446744073709551615", u64::MAX), ("10k", 10_000), ("1e3", 1000), ("0.5k", 500)];
        check(whole, &good, &["", "1.5", "-1", "-1k", "1e30", "k"]);
        check(count, &[("3", 3), ("1k", 1000)], &["three"]);
    }

    #[test]
    fn sizes() {
        let good = [
            ("64", 64),
            ("64B", 64),
            ("64k", 65_536),
            ("64K", 65_536),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64kB", 64_000),
            ("1M", 1 << 20),
            ("1MiB", 1 << 20),
            ("0.5k", 512),
            ("65_536", 65_536),
        ];
        check(bytes, &good, &["", "k", "64b", "64kb", "0.3", "-1", "64s", "1e300"]);
    }

    #[test]
    fn times() {
        let good =
            [("30s", 30.0), ("0.5", 0.5), ("10ms", 0.01), ("500us", 5e-4), ("2min", 120.0), ("1h", 3600.0)];
        check(seconds, &good, &["", "s", "30x", "10 fortnights", "inf", "1d", "1e308s", "1e10"]);
        check(milliseconds, &[("10", 10.0), ("10ms", 10.0), ("1s", 1000.0)], &["", "ms", "soon", "1e308s"]);
        check(whole_milliseconds, &[("500", 500), ("500ms", 500), ("1s", 1000)], &["0.5", "-1", "10us"]);
    }

    #[test]
    fn knobs_have_the_unit_of_their_name() {
        for (name, text, expected) in [
            ("batch", "64", 64),
            ("batch", "1k", 1000),
            ("write-bytes", "64k", 65_536),
            ("claim-ms", "50", 50),
            ("claim-ms", "2s", 2000),
            ("work-us", "3ms", 3000),
            ("work-us", "7us", 7),
        ] {
            assert_eq!(knob(name, text).expect(text), expected, "{name}={text}");
        }
        for (name, text) in [
            ("batch", "x"),
            ("batch", "-1"),
            ("batch", ""),
            ("claim-ms", "1.5us"),
            ("batch", "10ms"),
            ("work-us", "1e300s"),
        ] {
            assert!(
                knob(name, text).expect_err(text).to_string().contains(&format!("`{text}`")),
                "{name}={text}"
            );
        }
    }

    #[test]
    fn fuzz_units() {
        let seeds = ["10k", "1.5M", "64KiB", "30s", "10ms", "1e3", "10_000", "10k/s"];
        fuzz::Target::new("units").seeds(seeds).run(|input| {
            let text = &*String::from_utf8_lossy(input);
            let numbers = [number(text), rate(text), seconds(text), milliseconds(text)];
            assert!(numbers.iter().flatten().all(|number| number.is_finite()));
            // A size has units that no other number has, so a seed may be a size alone.
            let whole = [bytes(text).is_ok(), knob("claim-ms", text).is_ok()];
            whole.contains(&true) || numbers.iter().any(Result::is_ok)
        });
    }
}
