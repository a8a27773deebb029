//! `lab status`: asks all workers for their status, and says how complete the answer is.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use labs::apps::gather::Gathered;
use labs::apps::{gather, web};
use labs::lab::{BrokerAddress, Place};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::{self, Server};
use crate::command::{Usage, interruptible, start};
use crate::demo::incidents;
use crate::process::guard;
use crate::process::signals::Interrupts;
use crate::{hint, roles};

mod args;
mod lab;
mod seen;
mod table;
mod work;
mod worker;
mod workers;

pub(crate) use args::StatusArgs;
use lab::{Asking, Handle, ask, handle};
use seen::Seen;
pub(crate) use worker::{WorkerArgs, worker};

/// How often a question is asked with `--watch` and `--port`.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) fn main(args: &StatusArgs) -> Result<ExitCode> {
    let handle = handle(args.over()?)?;
    let which = handle.entry.broker.context("a lab without a broker")?;
    let choices = args.brokers.choices()?;
    crate::command::usage(gather::place(&args.place, None).map(drop))?;
    if args.slow + args.pause > args.workers {
        bail!(Usage(format!(
            "{} slow and {} paused workers are more than the {} that are started; give a higher --workers",
            args.slow, args.pause, args.workers
        )));
    }
    if args.join && !choices.contains_key(&which) {
        bail!(Usage(format!(
            "--join needs the address of the others: add --url {which}=URL, as the first terminal shows it"
        )));
    }
    let source = broker::find(which, &choices).map_err(|why| anyhow!("{why}"))?;
    if let Some(why) = source.why_not(which, handle.entry.guarantee, handle.entry.transport) {
        bail!("{} cannot run: {why}", handle.entry.name);
    }
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let asking = async {
        if source.is_private() {
            errln!("starting a private {which} …");
        }
        let server = start(&handle.entry, which, &source, false).await?;
        let done = if args.join {
            join(args, &handle, server.address()).await
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
async fn join(args: &StatusArgs, handle: &Handle, address: &BrokerAddress) -> Result<ExitCode> {
    let name = format!("worker-{}", std::process::id());
    errln!("{name} works at {}; Ctrl-C ends it", args.place);
    let place = gather::place(&args.place, Some(address))?.with_role(&name);
    let mut interrupts = Interrupts::new()?;
    let stop = async { interrupts.next().await };
    let delay = Duration::ZERO;
    work::work(&handle.lab, work::Working { place: &place, name: &name, delay }, stop).await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the workers, asks them, and shuts them down.
async fn run(args: &StatusArgs, handle: &Handle, server: &Server) -> Result<ExitCode> {
    let place = gather::place(&args.place, Some(server.address()))?.with_role("asker");
    incidents::tell(&place)?;
    let listener = match args.port {
        Some(port) => Some(web::listen(port).await?),
        None => None,
    };
    let mut workers = workers::Workers::start(args, server.address()).await?;
    let asked = match interruptible(ask_all(args, handle, &place, &mut workers, listener)).await {
        Some(asked) => asked,
        None => Ok(ExitCode::SUCCESS),
    };
    workers.shut_down().await;
    handle.lab.remove(&place).await.context("cannot remove what the questions left in the broker")?;
    asked
}

async fn ask_all(
    args: &StatusArgs,
    handle: &Handle,
    place: &Place,
    workers: &mut workers::Workers,
    listener: Option<tokio::net::TcpListener>,
) -> Result<ExitCode> {
    let again = args.watch || args.port.is_some();
    let (latest, page) = watch::channel("{}".to_owned());
    if let Some(listener) = &listener {
        errln!("open http://{} in a browser; Ctrl-C ends it", listener.local_addr()?);
    }
    if again {
        let address = place.broker()?;
        let (over, which) = (args.over()?, address.broker());
        let at = broker::for_another_terminal(address)?;
        let line = hint::command(&[
            "status",
            over,
            "--join",
            "--place",
            &args.place,
            "--url",
            &format!("{which}={at}"),
        ]);
        errln!("in another terminal: {line}");
    }
    let deadline = Duration::from_millis(args.deadline);
    let (mut complete, mut seen) = (false, Seen::default());
    let mut met = |known: usize| {
        if known < usize::from(args.workers) {
            errln!("only {known} of {} workers have announced themselves", args.workers);
        }
        workers.pause(args.pause)
    };
    let mut tell = |gathered: &Gathered| -> Result<()> {
        complete = gathered.is_complete();
        let gone = seen.note(gathered, Instant::now());
        let json = table::as_json(gathered, &gone, args.deadline);
        if args.json {
            outln!("{json}")?;
        } else {
            outln!("{}", table::as_text(gathered, &gone, args.deadline))?;
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
    // Exit code 3 means "cannot tell".
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(3) })
}
