//! The version of the result format, and the JSON schemas of its files.

use anyhow::Result;

#[cfg(feature = "schema")]
use super::fault::FaultSet;
#[cfg(feature = "schema")]
use super::model::Run;
#[cfg(feature = "schema")]
use super::scenario_store::ScenarioSet;

/// The version of the result format; older ones are read, newer ones refused.
pub const SCHEMA: u32 = 3;

/// The JSON schema of `run.json`, generated from the types above.
#[cfg(feature = "schema")]
pub fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(Run))? + "\n")
}

/// The JSON schema of `run.json`, as it was generated and committed: CI holds it to the types.
#[cfg(not(feature = "schema"))]
pub fn schema() -> Result<String> {
    Ok(include_str!("../../../docs/schema.json").to_owned())
}

/// The JSON schema of `scenarios.json`, as that of `run.json`.
#[cfg(feature = "schema")]
pub fn scenario_schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(ScenarioSet))? + "\n")
}

/// The JSON schema of `scenarios.json`, as it was generated and committed.
#[cfg(not(feature = "schema"))]
pub fn scenario_schema() -> Result<String> {
    Ok(include_str!("../../../docs/scenarios-schema.json").to_owned())
}

/// The JSON schema of `faults.json`, as that of `run.json`.
#[cfg(feature = "schema")]
pub fn fault_schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&schemars::schema_for!(FaultSet))? + "\n")
}

/// The JSON schema of `faults.json`, as it was generated and committed.
#[cfg(not(feature = "schema"))]
pub fn fault_schema() -> Result<String> {
    Ok(include_str!("../../../docs/faults-schema.json").to_owned())
}
