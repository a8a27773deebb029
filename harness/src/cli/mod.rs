//! The command line: one file a command. Exit codes: 0 good, 1 bad, 2 usage,
//! 3 cannot tell.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use labs::lab::Broker;

use crate::broker::Source;
use crate::doctor::Wish;
use crate::role::{self, Handle};
use crate::{broker, guard, plan};

/// As `println!`; but that nobody reads any more is an error, which [`main`]
/// knows, and not a panic.
macro_rules! outln {
    ($($text:tt)*) => {
        std::io::Write::write_fmt(&mut std::io::stdout().lock(), format_args!("{}\n", format_args!($($text)*)))
    };
}

mod agree;
mod bench;
#[cfg(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp"))]
mod bridge;
#[cfg(feature = "apps")]
mod chat;
#[cfg(feature = "apps")]
mod correlation;
#[cfg(feature = "apps")]
mod crack;
mod history;
mod list;
#[cfg(feature = "apps")]
mod over;
mod play;
#[cfg(feature = "apps")]
mod preinit;
mod progress;
mod regress;
mod report;
mod run;
mod selftest;
#[cfg(feature = "apps")]
mod status;
mod story;
mod summary;
mod table;
#[cfg(not(feature = "full"))]
mod without;
mod wrong_views;

#[cfg(feature = "apps")]
use over::{OverArgs, no_transport, transports};
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

/// The brokers of these names; all where none is named.
fn brokers(names: &[String]) -> Result<Vec<Broker>> {
    let all: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !all.contains(&name.as_str())) {
        bail!(Usage(format!("there is no broker `{name}`; brokers are {}", all.join(", "))));
    }
    let named = |broker: &Broker| names.is_empty() || names.iter().any(|name| name == broker.as_str());
    Ok(Broker::ALL.into_iter().filter(named).collect())
}

/// The user's own brokers.
#[derive(Debug, Clone, Args)]
struct BrokerArgs {
    /// Use your own broker instead of a private one, as in
    /// `redis=redis://localhost:6379` or `rabbitmq=amqp://localhost:5672`; or choose where a
    /// private one comes from: `nats=wheel`, `mqtt=embedded`
    #[arg(long = "url", value_name = "BROKER=URL")]
    urls: Vec<String>,
}

impl BrokerArgs {
    fn urls(&self) -> Result<BTreeMap<String, String>> {
        let names: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
        let mut urls = BTreeMap::new();
        for text in &self.urls {
            let Some((name, url)) = text.split_once('=') else {
                bail!(Usage(format!(
                    "`{text}` is not BROKER=URL, as in `--url redis=redis://localhost:6379`"
                )));
            };
            let Some(broker) = Broker::ALL.into_iter().find(|broker| broker.as_str() == name) else {
                bail!(Usage(format!("there is no broker `{name}`; brokers are {}", names.join(", "))));
            };
            if !broker::is_choice(broker, url) {
                bail!(Usage(format!(
                    "`{url}` is no address of {name}, as in `--url redis=redis://localhost:6379`; \
                     `wheel` can be asked for with redis and nats, `embedded` with mqtt"
                )));
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

/// The lab of this name, or a usage error: with the nearest one, or with the command
/// that builds it in.
fn lab<'a>(handles: &'a [Handle], name: &str) -> Result<&'a Handle> {
    let handle = usage(plan::lab(handles, name))?;
    usage(plan::built_in(&[handle]))?;
    Ok(handle)
}

/// Where the lab's broker comes from, or why the lab cannot run.
fn source(handle: &Handle, broker: Broker, urls: &BTreeMap<String, String>) -> Result<Source> {
    let source = broker::find(broker, urls)?;
    match source.why_not(broker, handle.entry.guarantee, handle.entry.transport) {
        Some(why) => bail!("{} cannot run: {why}", handle.entry.name),
        None => Ok(source),
    }
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
            let brokers = brokers(&args.only)?;
            if args.wheels {
                for wheel in Broker::ALL.into_iter().filter_map(broker::Wheel::of) {
                    urls.entry(wheel.broker.to_string()).or_insert_with(|| "wheel".to_owned());
                }
            }
            let wish = Wish { brokers, install: args.install, wheels: args.wheels, json: args.json };
            guard::enter()?;
            role::runtime(0)?.block_on(crate::doctor::doctor(&wish, &urls))
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
            Ok(if role::main(&handles).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Runs `work` until it ends or the user presses Ctrl-C; `None` then. A second
/// Ctrl-C ends the program at once, and the guard cleans up.
async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // What ends in the same moment is an interruption, and no failure.
        biased;
        _ = tokio::signal::ctrl_c() => {
            tokio::spawn(async {
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            });
            None
        }
        done = work => Some(done),
    }
}
