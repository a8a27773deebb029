//! Filters of subscribers, kept by the publisher where there is no broker to do it.

use std::str;

use anyhow::{Result, ensure};

use crate::topic::Filter;

/// A subscriber, as its publisher sees it.
pub struct Subscription<C> {
    /// Which events it wants.
    pub filter: Filter,
    /// The connection to it.
    pub connection: C,
}

/// The filter that a subscriber's text spells, and the answer it gets: `ok`, or what is wrong.
pub(crate) fn read_filter(text: &[u8]) -> (Option<Filter>, String) {
    match str::from_utf8(text).map_err(Into::into).and_then(str::parse::<Filter>) {
        Ok(filter) => (Some(filter), "ok".to_owned()),
        Err(error) => (None, error.to_string()),
    }
}

/// An error unless the publisher has answered `ok`.
pub(crate) fn check_answer(answer: &[u8]) -> Result<()> {
    ensure!(answer == b"ok", "the publisher refused the filter: {}", String::from_utf8_lossy(answer));
    Ok(())
}
