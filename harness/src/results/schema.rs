//! The version of the result format, and its JSON schema.

use anyhow::Result;

#[cfg(feature = "schema")]
use super::file::pretty;
#[cfg(feature = "schema")]
use super::model::Run;

/// The version of the result format; older ones are read, newer ones refused.
pub const SCHEMA: u32 = 3;

/// The JSON schema of `run.json`, generated from the types above.
#[cfg(feature = "schema")]
pub fn schema() -> Result<String> {
    pretty(&schemars::schema_for!(Run))
}

/// The JSON schema of `run.json`, as it was generated and committed: CI holds it to the types.
#[cfg(not(feature = "schema"))]
pub fn schema() -> Result<String> {
    Ok(include_str!("../../../docs/schema.json").to_owned())
}
