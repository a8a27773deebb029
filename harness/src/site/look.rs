//! What is the same on every page.

use crate::compare::history::host_name;
use crate::report::{palette, render};
use crate::results::Host;

/// What every page has beside its content.
pub(super) struct Look {
    pub(super) style: String,
    pub(super) policy: String,
}

impl Look {
    pub(super) fn new() -> Self {
        let style = format!("{}{}", include_str!("templates/site.css"), palette::style());
        let policy = render::policy(&style, "");
        Self { style, policy }
    }
}

/// A machine's name in pages.
pub(super) fn machine(host: &Host) -> String {
    host_name(host)
}
