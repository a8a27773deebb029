//! The options of `lab status`.

use anyhow::Result;
use clap::Args;

use crate::command::{BrokerArgs, OverArgs};

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(super) over: OverArgs,
    /// Workers to start, which pretend to work
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(super) workers: u16,
    /// So many of them answer later than the deadline
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) slow: u16,
    /// So many of them are stopped where they stand (SIGSTOP) when they have announced themselves
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) pause: u16,
    /// How long answers are gathered, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(super) deadline: u64,
    /// Ask once a second until Ctrl-C
    #[arg(long)]
    pub(super) watch: bool,
    /// The same, as a web page at this port of 127.0.0.1; 0 for a free one
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// Be one more worker of another terminal's `lab status`, which shows the whole command
    #[arg(long, conflicts_with_all = ["slow", "pause", "watch", "port", "json", "workers"])]
    pub(super) join: bool,
    /// Where workers meet; those of another name do not hear each other
    #[arg(long, value_name = "NAME", default_value = "lab-status")]
    pub(super) place: String,
    /// One JSON object an answer
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
