//! `lab status`: asks all workers, and says how complete the answer is.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use labs::apps::gather::{Gathered, Gatherer};
use labs::apps::{gather, web};
use labs::catalog::{self, Pattern, Visitor};
use labs::erased::PubSubLab;
use labs::lab::Place;
use labs::pubsub::PubSub;
use tokio::sync::watch;

use super::{BrokerArgs, OverArgs, Usage, interruptible};
use crate::broker::{self, Options, Server};
use crate::{guard, hint, role};

mod table;
mod team;
mod worker;

pub(super) use worker::{WorkerArgs, worker};

/// How long workers may take to be heard before the first question.
const MEETING: Duration = Duration::from_secs(20);
/// How often a question goes out with `--watch` and `--port`.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    over: OverArgs,
    /// Workers to start, which pretend to work
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=64))]
    workers: u16,
    /// So many of them answer later than the deadline
    #[arg(long, value_name = "N", default_value_t = 0)]
    slow: u16,
    /// So many of them are stopped where they stand (SIGSTOP) when they have announced themselves
    #[arg(long, value_name = "N", default_value_t = 0)]
    pause: u16,
    /// How long answers are gathered, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    deadline: u64,
    /// Ask once a second until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The same, as a web page at this port of 127.0.0.1; 0 for a free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Be one more worker of another terminal's `lab status`, which shows the whole command
    #[arg(long, conflicts_with_all = ["slow", "pause", "watch", "port", "json", "workers"])]
    join: bool,
    /// Where workers meet; those of another name do not hear each other
    #[arg(long, value_name = "NAME", default_value = "lab-status")]
    place: String,
    /// One JSON object an answer
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

impl StatusArgs {
    fn over(&self) -> Result<&str> {
        self.over.name(Some("redis"))
    }
}

/// How to ask and to work over a lab without knowing its type.
struct Handle {
    entry: catalog::Entry,
    lab: PubSubLab,
}

/// What is asked, and who hears the answer.
struct Asking<'a> {
    place: &'a Place,
    /// Workers to wait for before the first question.
    expected: usize,
    deadline: Duration,
    /// Again and again, after such a pause; once where there is none.
    every: Option<Duration>,
    /// Called before the first question, when the workers are known.
    met: &'a mut dyn FnMut(usize) -> Result<()>,
    tell: &'a mut dyn FnMut(&Gathered) -> Result<()>,
}

/// The publish/subscribe labs with a broker: any number may publish and answer.
#[derive(Default)]
struct Handles(Vec<Handle>);

impl Visitor for Handles {
    fn pub_sub<L: PubSub>(&mut self) {
        if L::BROKER.is_some() && L::PUBLISHERS.is_none() {
            self.0.push(Handle {
                entry: catalog::Entry::of::<L>(Pattern::PubSub, catalog::Particular::None),
                lab: PubSubLab::of::<L>(),
            });
        }
    }
}

/// The lab of this transport, or a usage error with the nearest one.
fn handle(over: &str) -> Result<Handle> {
    let mut handles = Handles::default();
    catalog::visit(&mut handles);
    let own = handles.0.into_iter().find(|handle| handle.entry.transport == over);
    own.ok_or_else(|| {
        super::no_transport("status", over, &super::transports(Pattern::PubSub, |lab| lab.broker.is_some()))
    })
}

pub(super) fn main(args: &StatusArgs) -> Result<ExitCode> {
    let handle = handle(args.over()?)?;
    let which = handle.entry.broker.context("a lab without a broker")?;
    let urls = args.brokers.urls()?;
    super::usage(gather::place(&args.place, "").map(drop))?;
    if args.slow + args.pause > args.workers {
        bail!(Usage(format!(
            "{} slow and {} paused workers are more than the {} that are started; see --workers",
            args.slow, args.pause, args.workers
        )));
    }
    if args.join && !urls.contains_key(which.as_str()) {
        bail!(Usage(format!(
            "--join needs to know where the others are: add --url {which}=URL, as the first terminal shows it"
        )));
    }
    let source = broker::find(which, &urls).map_err(|why| anyhow!("{why}"))?;
    if let Some(why) = source.why_not(which, handle.entry.guarantee, handle.entry.transport) {
        bail!("{} cannot run: {why}", handle.entry.name);
    }
    guard::enter()?;
    let runtime = role::runtime(0)?;
    let asking = async {
        if source.is_private() {
            eprintln!("starting a private {which} …");
        }
        let options = Options { durable: false, dir: &guard::session_dir() };
        let server = Server::start(which, &source, &options).await?;
        let done = if args.join {
            join(args, &handle, server.url()).await
        } else {
            run(args, &handle, &server).await
        };
        server.stop().await?;
        done
    };
    let done = runtime.block_on(asking);
    runtime.shutdown_background();
    done
}

/// One more worker, until Ctrl-C.
async fn join(args: &StatusArgs, handle: &Handle, url: &str) -> Result<ExitCode> {
    let name = format!("worker-{}", std::process::id());
    eprintln!("{name} works at {}; Ctrl-C ends it", args.place);
    let place = gather::place(&args.place, url)?.with_role(&name);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    let delay = Duration::ZERO;
    worker::work(&handle.lab, worker::Working { place: &place, name: &name, delay }, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the workers, asks them, and sends them home.
async fn run(args: &StatusArgs, handle: &Handle, server: &Server) -> Result<ExitCode> {
    let place = gather::place(&args.place, server.url())?.with_role("asker");
    let listener = match args.port {
        Some(port) => Some(web::listen(port).await?),
        None => None,
    };
    let mut team = team::Team::start(args, server.url())?;
    let asked = match interruptible(ask_all(args, handle, &place, &mut team, listener)).await {
        Some(asked) => asked,
        None => Ok(ExitCode::SUCCESS),
    };
    team.dismiss().await;
    handle.lab.remove(&place).await.context("cannot remove what the questions have left")?;
    asked
}

async fn ask_all(
    args: &StatusArgs,
    handle: &Handle,
    place: &Place,
    team: &mut team::Team,
    listener: Option<tokio::net::TcpListener>,
) -> Result<ExitCode> {
    let again = args.watch || args.port.is_some();
    let (latest, page) = watch::channel("{}".to_owned());
    if let Some(listener) = &listener {
        eprintln!("open http://{} in a browser; Ctrl-C ends it", listener.local_addr()?);
    }
    let url = place.url()?;
    let shown = broker::without_password(url);
    let note = if shown == url { "" } else { " (with the password)" };
    if again {
        let (over, which) = (args.over()?, handle.entry.broker.map_or("", |broker| broker.as_str()));
        let line = hint::command(&[
            "status",
            over,
            "--join",
            "--place",
            &args.place,
            "--url",
            &format!("{which}={url}"),
        ]);
        eprintln!("in another terminal{note}: {line}");
    }
    let deadline = Duration::from_millis(args.deadline);
    let mut complete = false;
    let mut met = |known: usize| {
        if known < usize::from(args.workers) {
            eprintln!("only {known} of {} workers have announced themselves", args.workers);
        }
        team.pause(args.pause)
    };
    let mut tell = |gathered: &Gathered| -> Result<()> {
        complete = gathered.is_complete();
        let json = table::as_json(gathered, args.deadline);
        if args.json {
            outln!("{json}")?;
        } else {
            outln!("{}", table::as_text(gathered, args.deadline))?;
        }
        latest.send_replace(json.to_string());
        Ok(())
    };
    let every = again.then_some(EVERY);
    let expected = usize::from(args.workers);
    let asking =
        ask(&handle.lab, Asking { place, expected, deadline, every, met: &mut met, tell: &mut tell });
    match listener {
        Some(listener) => tokio::select! {
            asked = asking => asked?,
            served = gather::web::serve(listener, page, std::future::pending()) => served?,
        },
        None => asking.await?,
    }
    // What is not complete is not known: exit code 3.
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

async fn ask(lab: &PubSubLab, asking: Asking<'_>) -> Result<()> {
    let Asking { place, expected, deadline, every, met, tell } = asking;
    let name = format!("asker-{}", std::process::id());
    let mut gatherer = Gatherer::join(lab, place, &name).await?;
    met(gatherer.meet(expected, MEETING).await?)?;
    loop {
        tell(&gatherer.gather("status", deadline).await?)?;
        match every {
            Some(pause) => gatherer.rest(pause).await?,
            None => return gatherer.leave().await,
        }
    }
}
