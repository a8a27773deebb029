//! What is known of a lab under faults, beside its figures.

use serde::Serialize;

use super::super::cases::Promise;
use crate::results::Verdict;

/// The page of a set of runs under faults, in its folder.
const PAGE: &str = "faults.html";

#[derive(Debug, Clone, Serialize)]
pub(super) struct Shown {
    /// `kept under 9 of 9 faults: receiver-kill, link-cut …, by 2026-01-31-host-faults`.
    words: String,
    /// The same in little room: `✓ 9/9`.
    short: String,
    /// `kept`, `broke`, `unclear`.
    class: &'static str,
    /// The evidence, from the result set's folder.
    link: String,
}

/// Nothing where no run under faults is known.
pub(super) fn shown(promise: Option<&Promise>) -> Option<Shown> {
    let promise = promise?;
    let tested = promise.kept + promise.broke.len() + promise.cannot_tell;
    let (sign, class) = match promise.verdict() {
        Verdict::Kept => ("✓", "kept"),
        Verdict::Broke => ("✗", "broke"),
        _ => ("?", "unclear"),
    };
    Some(Shown {
        words: format!(
            "{}{}{}, by {}",
            promise.words(),
            if promise.kept_under.is_empty() { "" } else { ": " },
            promise.kept_under.join(", "),
            promise.folder.rsplit('/').next().filter(|name| *name != ".").unwrap_or("this result set")
        ),
        short: format!("{sign} {}/{tested}", promise.kept),
        class,
        link: format!("{}/{PAGE}", promise.folder),
    })
}
