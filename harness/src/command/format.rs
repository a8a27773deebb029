//! Numbers and times as commands print them.

use std::time::Duration;

/// `42 s`, `3 min`.
pub(crate) fn human(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    if whole < 90 { format!("{whole} s") } else { format!("{} min", whole.div_ceil(60)) }
}

/// `1 234 567`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
