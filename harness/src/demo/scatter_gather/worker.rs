//! The hidden command that runs one worker.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use labs::apps::gather;

use super::lab::handle;
use super::work::{Working, work};
use crate::demo::incidents;
use crate::roles;

/// The environment variable with the broker's address.
pub(super) const URL: &str = "LAB_STATUS_URL";

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    over: String,
    #[arg(long)]
    place: String,
    #[arg(long)]
    name: String,
    /// Milliseconds between a question and its answer
    #[arg(long)]
    delay: u64,
}

/// The hidden subcommand: works until its stdin ends.
pub(crate) fn worker(args: &WorkerArgs) -> Result<ExitCode> {
    let handle = handle(&args.over)?;
    let url = std::env::var(URL).with_context(|| format!("{URL} does not have the broker's address"))?;
    let place = gather::place(&args.place, &url)?.with_role(&args.name);
    let stop = async {
        // Nothing is written there: only its end matters.
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    };
    let delay = Duration::from_millis(args.delay);
    incidents::tell(&place)?;
    let runtime = roles::runtime(0)?;
    let working = Working { place: &place, name: &args.name, delay };
    let worked = runtime.block_on(work(&handle.lab, working, stop));
    runtime.shutdown_background();
    worked.map(|_| ExitCode::SUCCESS)
}
