//! The command line: one file a command. Exit codes: 0 good, 1 bad, 2 usage,
//! 3 cannot tell.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use labs::lab::Broker;

use crate::role::{self, Handle};
use crate::{guard, plan};

mod bench;
mod bridge;
mod list;
mod play;
mod progress;
mod report;
mod run;
mod story;

/// Messaging patterns you can read, run, break and measure.
///
/// Start with `lab list`, then `lab run pubsub-redis`, then read the file it
/// names. `lab bench` measures labs side by side and writes a report.
#[derive(Debug, Parser)]
#[command(name = "lab", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the catalog: every lab, what it promises, whether it can run here
    List(list::ListArgs),
    /// Tell a lab's story with real messages, then measure it for two seconds
    Run(run::RunArgs),
    /// Publish over MQTT, consume over AMQP and STOMP: what each leg guarantees
    Bridge(bridge::BridgeArgs),
    /// Measure labs and write a result bundle with plots and a report
    Bench(Box<bench::BenchArgs>),
    /// Play one role by hand; two terminals hold a conversation
    Play(play::PlayArgs),
    /// Draw the plots and reports of bundles again, from the bundles alone
    Report(report::ReportArgs),
    /// Show what is here, what is missing, and how noisy this machine is
    Doctor(DoctorArgs),
    /// Print the JSON schema of `run.json`
    Schema,
    /// Write the tables of README and docs anew, from the catalog; in the project's folder
    #[command(hide = true)]
    Book,
    #[command(hide = true)]
    Role(RoleArgs),
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Install what is missing; says what it will do, and asks on a terminal
    #[arg(long)]
    install: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

#[derive(Debug, Args)]
struct RoleArgs {
    /// What it is called, for `ps`
    #[arg(long)]
    name: Option<String>,
    /// Pin the process to this CPU
    #[arg(long)]
    cpu: Option<usize>,
}

/// The user's own brokers.
#[derive(Debug, Clone, Args)]
struct BrokerArgs {
    /// Use your own broker instead of a private one, as in
    /// `redis=redis://localhost:6379` or `rabbitmq=amqp://localhost:5672`
    #[arg(long = "url", value_name = "BROKER=URL")]
    urls: Vec<String>,
}

impl BrokerArgs {
    fn urls(&self) -> Result<BTreeMap<String, String>> {
        let names: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
        let mut urls = BTreeMap::new();
        for text in &self.urls {
            let Some((name, url)) = text.split_once('=').filter(|(_, url)| url.contains("://")) else {
                bail!(Usage(format!(
                    "`{text}` is not BROKER=URL, as in `--url redis=redis://localhost:6379`"
                )));
            };
            if !names.contains(&name) {
                bail!(Usage(format!("there is no broker `{name}`; brokers are {}", names.join(", "))));
            }
            urls.insert(name.to_owned(), url.to_owned());
        }
        Ok(urls)
    }
}

/// An error in what was asked for: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Marks an error as one of usage.
fn usage<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| anyhow::Error::new(Usage(format!("{error:#}"))))
}

/// The lab of this name, or a usage error with the nearest one.
fn lab<'a>(handles: &'a [Handle], name: &str) -> Result<&'a Handle> {
    usage(plan::lab(handles, name))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        // Whoever read our output has had enough: not an error.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let handles = role::handles();
    match command {
        Command::List(args) => list::main(&args, &handles),
        Command::Run(args) => run::main(&args, &handles),
        Command::Bridge(args) => bridge::main(&args),
        Command::Bench(args) => bench::main(&args, &handles),
        Command::Play(args) => play::main(&args, &handles),
        Command::Report(args) => report::main(&args),
        Command::Doctor(args) => {
            let urls = args.brokers.urls()?;
            guard::enter()?;
            role::runtime(0)?.block_on(crate::doctor::doctor(args.install, args.json, &urls))
        }
        Command::Schema => {
            print!("{}", crate::bundle::schema()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Book => {
            for page in crate::book::write(std::path::Path::new("."))? {
                println!("{}", page.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Role(args) => {
            drop(args.name);
            if let Some(cpu) = args.cpu {
                let mut set = rustix::thread::CpuSet::new();
                set.set(cpu);
                rustix::thread::sched_setaffinity(None, &set)
                    .with_context(|| format!("cannot pin a role to CPU {cpu}; does this machine have it?"))?;
            }
            // What went wrong has been said in the protocol's own words.
            Ok(if role::main(&handles).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Runs `work` until it ends or the user presses Ctrl-C; `None` then. A second
/// Ctrl-C ends the program at once, and the guard cleans up.
async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        _ = tokio::signal::ctrl_c() => {
            tokio::spawn(async {
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            });
            None
        }
    }
}
