use crate::role::Handle;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    lab: String,
}
pub(super) fn main(_: &RunArgs, _: &[Handle]) -> Result<ExitCode> {
    Ok(ExitCode::FAILURE)
}
