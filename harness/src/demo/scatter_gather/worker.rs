//! The hidden command that runs one worker.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use labs::apps::gather;
use labs::lab::BrokerAddress;

use super::lab::handle;
use super::work::{Working, work};
use crate::demo::incidents;
use crate::roles;

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

/// The hidden subcommand: reads the broker's address from stdin, and works until its stdin ends.
pub(crate) fn worker(args: &WorkerArgs) -> Result<ExitCode> {
    let handle = handle(&args.over)?;
    let which = handle.entry.broker.context("a lab without a broker")?;
    // Not an argument, because all users of the machine can read arguments.
    let mut address = String::new();
    std::io::stdin().lock().read_line(&mut address).context("cannot read the broker's address")?;
    let address = BrokerAddress::parse(which, address.trim_end())?;
    let place = gather::place(&args.place, Some(&address))?.with_role(&args.name);
    let stop = async {
        // Nothing more is written there: only its end matters.
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
