//! The options of `lab break`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::scenario::ScenarioArgs;
use crate::command::BrokerArgs;
use crate::units;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct BreakArgs {
    #[command(subcommand)]
    pub(super) command: Option<BreakCommand>,
    /// The lab, as in `queue-redis`; with --all: names, globs (quoted: 'queue-*') or patterns
    pub(super) labs: Vec<String>,
    /// The fault, as in `receiver-kill`; several with commas: one run has them all, and --all takes one
    /// after the other. `lab break list` shows them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) fault: Vec<String>,
    /// When it begins, seconds after the first message; default: 1, or a moment that follows from
    /// the seed
    #[arg(long, value_name = "S", value_parser = units::seconds)]
    pub(super) at: Option<f64>,
    /// How long it lasts, seconds, where it has a length
    #[arg(long = "for", value_name = "S", value_parser = units::seconds)]
    pub(super) length: Option<f64>,
    /// A file with several faults and their moments
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fault", "at", "length", "all"])]
    pub(super) plan: Option<PathBuf>,
    /// Every fault of the scorecard, or those of --fault, over all labs or those named; goes on where
    /// --out left off
    #[arg(long)]
    pub(super) all: bool,
    /// The seed of what is random: without a fault named, which and when; else when, and which of
    /// several roles
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Runs each with the seeds 1 to N
    #[arg(long, value_name = "N", conflicts_with = "seed", value_parser = units::whole)]
    pub(super) seeds: Option<u64>,
    /// Offered load, messages per second
    #[arg(long, value_name = "RATE", default_value = "500", value_parser = units::rate)]
    pub(super) rate: f64,
    /// Message size in bytes, the 32-byte header included
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = units::bytes)]
    pub(super) size: u64,
    /// Set a knob of the lab or of the harness, as in `delivery-mode=1`; can be repeated
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    pub(super) set: Vec<String>,
    /// A setting of the private broker, as in `appendfsync=everysec`; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) broker_set: Vec<String>,
    /// Folder for the runs and the report; default: none for one run, a new folder below results/ with --all
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// A file for the replay of one run: .html (opens from disk), .log (for ShiViz) or .json (OpenTelemetry).
    /// With --out, runs that broke a promise have one there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "seeds"])]
    pub(super) save: Option<PathBuf>,
    /// Print one JSON object per run
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) brokers: BrokerArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum BreakCommand {
    /// Play a scenario: one thing that goes wrong with messages, and what follows from it
    Run(Box<ScenarioArgs>),
    /// Show all scenarios and faults, or the faults that apply to a lab and whether its guarantee covers them
    List {
        /// The lab
        lab: Option<String>,
        /// Print JSON: an object with scenarios and faults; for a lab, an array of faults
        #[arg(long)]
        json: bool,
    },
}
