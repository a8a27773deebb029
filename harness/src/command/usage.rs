//! Usage errors, which end a command with exit code 2.

use anyhow::Result;

use crate::plan;
use crate::roles::Handle;

/// An error in the command line or a plan: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Marks an error as one of usage.
pub(crate) fn usage<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| anyhow::Error::new(Usage(format!("{error:#}"))))
}

/// The lab of this name, or a usage error: with the nearest one, or with the command
/// that builds it in.
pub(crate) fn lab<'a>(handles: &'a [Handle], name: &str) -> Result<&'a Handle> {
    let handle = usage(plan::lab(handles, name))?;
    usage(plan::built_in(&[handle]))?;
    Ok(handle)
}
