//! The options of `lab status`.

use anyhow::{Result, ensure};
use clap::Args;

use crate::command::{BrokerArgs, OverArgs};
use crate::units;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(super) over: OverArgs,
    /// Simulated workers to start
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(super) workers: u16,
    /// Number of workers that answer later than the deadline
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) slow: u16,
    /// Number of workers to stop (SIGSTOP) after they have announced themselves
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) pause: u16,
    /// How long to wait for replies, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = deadline)]
    pub(super) deadline: u64,
    /// Ask once a second until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// Show the same as a web page on this port of 127.0.0.1; 0 picks a free port
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// Join another terminal's `lab status` as one more worker; that terminal shows the command
    #[arg(long, conflicts_with_all = ["slow", "pause", "watch", "port", "json", "workers"])]
    pub(super) join: bool,
    /// Name under which workers meet; workers of another name are not asked
    #[arg(long, value_name = "NAME", default_value = "lab-status")]
    pub(super) place: String,
    /// Print one JSON object per answer
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) brokers: BrokerArgs,
}

impl StatusArgs {
    pub(super) fn over(&self) -> Result<&str> {
        self.over.name(Some("redis"))
    }
}

fn deadline(text: &str) -> Result<u64> {
    let found = units::whole_milliseconds(text)?;
    ensure!((1..=60_000).contains(&found), "a deadline of {found} ms is out of range; give 1 to 60000");
    Ok(found)
}
