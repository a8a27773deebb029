//! The parts of a place where the peers talk directly, and their addresses on the command line.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use labs::catalog::Pattern;

use crate::command::Usage;
use crate::hint;
use crate::roles::Handle;
use crate::roles::protocol::{Kind, kinds};

/// The parts of a place where the peers talk directly: each has an address.
pub(super) fn parts(handle: &Handle) -> &'static [&'static str] {
    match handle.entry.pattern {
        Pattern::Pipeline => &["tasks", "results", "control"],
        _ => &[""],
    }
}

/// The commands of the roles that bind these parts.
pub(super) fn binders(handle: &Handle, parts: &[&str]) -> String {
    let binds = |kind: &&Kind| kind.binds(false).iter().any(|part| parts.contains(part));
    let line = |kind: &Kind| format!("`{}`", hint::command(&["play", &handle.entry.name, kind.as_str()]));
    kinds(handle.entry.pattern).iter().filter(binds).map(line).collect::<Vec<_>>().join(" and ")
}

/// `--at` values by part: `tasks=127.0.0.1:5000`, or an address alone where
/// there is one part.
pub(super) fn by_part(at: &[String], parts: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in at.iter().flat_map(|text| text.split(',')) {
        let (part, address) = match text.split_once('=') {
            Some((part, address)) => (part, address),
            None if parts.len() == 1 => (parts[0], text),
            None => bail!(Usage(format!(
                "`{text}` does not name a part of the pipeline; write it as `{}={text}`",
                parts[0]
            ))),
        };
        if !parts.contains(&part) {
            bail!(Usage(format!("there is no part `{part}`; parts are {}", parts.join(", "))));
        }
        found.insert(part.to_owned(), address.to_owned());
    }
    Ok(found)
}
