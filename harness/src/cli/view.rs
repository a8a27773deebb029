//! `lab view`: serves a page that draws a running lab, or writes a replay of a run into a file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
#[cfg(feature = "apps")]
use labs::apps::web;
use serde_json::json;
#[cfg(feature = "apps")]
use tokio::sync::mpsc;

use super::break_lab::knobs;
#[cfg(feature = "apps")]
use crate::command::random;
use crate::command::{BrokerArgs, interruptible, lab, source, tell_leftovers, usage};
use crate::failure::{Experiment, Purpose, Sources};
use crate::hint;
use crate::process::guard;
use crate::replay::{self, Format, Keep, State, fates};
use crate::roles::{self, Handle};
#[cfg(feature = "apps")]
use crate::view::{Order, serve};
use crate::view::{Session, Shared, script};

/// Acts that may wait to be done.
#[cfg(feature = "apps")]
const ORDERS: usize = 32;

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// The lab, as in `pubsub-redis`; `lab list` shows them all
    lab: String,
    /// Port of the page on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Serve nothing: play a short run in which a receiver is killed, and write its replay into FILE
    ///
    /// The end of the name says what is written: .html (a page that opens from disk), .log (for
    /// ShiViz) or .json (OpenTelemetry).
    #[arg(long, value_name = "FILE", conflicts_with = "port")]
    save: Option<PathBuf>,
    /// Set a knob of the lab, as in `lease-ms=500`; can be repeated
    #[arg(long = "set", value_name = "KNOB=VALUE")]
    set: Vec<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(crate) fn main(args: &ViewArgs, handles: &[Handle]) -> Result<ExitCode> {
    let handle = lab(handles, &args.lab)?;
    if let Some(file) = &args.save {
        // Before anything runs.
        usage(Format::of(file))?;
    }
    let choices = args.brokers.choices()?;
    let sources = match handle.entry.broker {
        Some(broker) => [(broker, source(handle, broker, &choices)?)].into(),
        None => Sources::new(),
    };
    let knobs = usage(knobs(&args.set, std::slice::from_ref(handle)))?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(interruptible(run(args, handle, sources, knobs)));
    // Also what a run has left that was interrupted.
    tell_leftovers(&runtime);
    runtime.shutdown_background();
    match done {
        Some(done) => done.map(|()| ExitCode::SUCCESS),
        // Ctrl-C is how a page that is served is ended.
        None if args.save.is_none() => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(130)),
    }
}

async fn run(
    args: &ViewArgs,
    handle: &Handle,
    sources: Sources,
    knobs: BTreeMap<String, usize>,
) -> Result<()> {
    let mut words = vec!["view", &handle.entry.name];
    words.extend(args.set.iter().flat_map(|set| ["--set", set]));
    let command = hint::line(None, &words);
    let purpose = Purpose { place: "lab-view", command, keep: Keep::Last };
    let json = args.json;
    let tell = Box::new(move |line: &str| {
        // The story is in the page; only the start of a broker takes long enough to be told.
        if !json && line.contains("starting") {
            errln!("·{}", line.trim_start_matches(' ').replacen("starting", " starting", 1));
        }
    });
    let mut experiment = Experiment::new(handle.clone(), knobs, sources, purpose, tell);
    let done = match &args.save {
        Some(file) => saved(args, handle, &mut experiment, file).await,
        None => served(args, handle, &mut experiment).await,
    };
    let closed = experiment.close().await;
    done.and(closed)
}

#[cfg(feature = "apps")]
async fn served(args: &ViewArgs, handle: &Handle, experiment: &mut Experiment) -> Result<()> {
    let listener = web::listen(args.port).await?;
    let port = listener.local_addr()?.port();
    let token: String = (0..4).map(|_| format!("{:08x}", random())).collect();
    // The token stands behind `#`: a browser sends it to nobody.
    let url = format!("http://127.0.0.1:{port}/#{token}");
    let shared = Shared::new();
    let (orders, mut received) = mpsc::channel::<Order>(ORDERS);
    let mut session = Session::start(experiment, &handle.entry.name, shared.clone()).await?;
    if args.json {
        outln!("{}", json!({ "url": url }))?;
    } else {
        outln!("{url}")?;
        errln!("· open this address in a browser; read on in {}", handle.entry.source);
        errln!("· Ctrl-C ends it");
    }
    let serving = serve(listener, shared, orders, token, std::future::pending());
    let served = tokio::select! {
        served = serving => served,
        () = session.play(&mut received) => Ok(()),
    };
    served.and(session.end().await)
}

/// This build has no server of pages.
#[cfg(not(feature = "apps"))]
async fn served(_: &ViewArgs, handle: &Handle, _: &mut Experiment) -> Result<()> {
    let lab = &handle.entry.name;
    bail!(crate::command::Usage(format!(
        "this build of `lab` serves no page; `./run view {lab}` builds what is needed, and `--save FILE` writes a \
         replay"
    )))
}

async fn saved(
    args: &ViewArgs,
    handle: &Handle,
    experiment: &mut Experiment,
    file: &std::path::Path,
) -> Result<()> {
    let title = format!("{}: a receiver is killed and comes back", handle.entry.name);
    let mut session = Session::start(experiment, &title, Shared::new()).await?;
    if !args.json {
        errln!("· playing; this takes a few seconds");
    }
    let played = script(&mut session).await;
    session.end().await?;
    played?;
    let Some(replay) = experiment.replays.last() else { bail!("nothing was recorded") };
    replay::save(std::slice::from_ref(replay), file)?;
    let fates = fates(replay);
    let count = |state| fates.iter().filter(|fate| fate.state == state).count();
    if args.json {
        outln!("{}", json!({ "saved": file, "account": fates }))?;
    } else {
        outln!("{}", file.display())?;
        errln!(
            "· {} deliveries, {} missed, {} lost, {} waiting",
            count(State::Delivered),
            count(State::Missed),
            count(State::Lost),
            count(State::Waiting)
        );
    }
    Ok(())
}
