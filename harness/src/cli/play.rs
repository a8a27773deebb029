use crate::role::Handle;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
#[derive(Debug, Args)]
pub(super) struct PlayArgs {
    lab: String,
}
pub(super) fn main(_: &PlayArgs, _: &[Handle]) -> Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
