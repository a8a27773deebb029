//! A fact of a run, with its name.

use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Fact {
    pub(super) key: String,
    pub(super) value: String,
}

impl Fact {
    pub(super) fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}
