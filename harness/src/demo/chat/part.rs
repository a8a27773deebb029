//! One process of the chat: an instance or the history. It reads what it is from a line
//! on stdin and then whether the broker runs, reports events as lines on stdout, and ends when
//! its stdin ends.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use labs::apps::chat::hub::Order;
use labs::apps::chat::instance::{Instance, thread};
use labs::apps::chat::store::Store;
use labs::apps::chat::{archive, history};
use labs::apps::web;
use labs::lab::{BrokerAddress, Place};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::transport::{find, library};
use crate::demo::incidents;
use crate::roles::open_address;
use crate::{hint, roles};

#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// What it is called, for `ps`
    #[arg(long)]
    name: Option<String>,
}

/// The instructions for a process of the chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Init {
    pub(super) over: String,
    pub(super) place: String,
    #[serde(with = "open_address")]
    pub(super) address: Option<BrokerAddress>,
    pub(super) part: Part,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    Instance {
        name: String,
        port: u16,
        mesh: Option<(String, Vec<String>)>,
        history: Result<(), String>,
        breakable: bool,
    },
    History {
        store: PathBuf,
    },
}

/// What a process of the chat is told later.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ToPart {
    /// Whether the broker runs now.
    BrokerRuns(bool),
}

/// The report of a process of the chat.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    /// The instance serves browsers at this port.
    Serves(u16),
    /// The history is subscribed.
    Joined,
    /// A page requests that the broker be killed.
    Kill,
    /// A page requests that the broker be started.
    Start,
    /// It cannot go on.
    Failed(String),
}

fn say(told: &Told) {
    // If nobody reads this, the parent process has ended; then stdin ends, too.
    if let Ok(line) = serde_json::to_string(told) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Microseconds since 1970.
fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

pub(crate) fn main(args: &PartArgs) -> Result<ExitCode> {
    let _ = &args.name;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let init: Init = serde_json::from_str(&line)
        .with_context(|| format!("only `{}` starts this command", hint::command(&["chat"])))?;
    let (stop, stopped) = watch::channel(false);
    let (broker, broker_runs) = watch::channel(true);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(ToPart::BrokerRuns(runs)) = serde_json::from_str(&line) {
                broker.send_replace(runs);
            }
        }
        stop.send_replace(true);
    });
    if let Err(error) = play(init, stopped, broker_runs) {
        say(&Told::Failed(format!("{error:#}")));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn play(init: Init, stop: watch::Receiver<bool>, broker_runs: watch::Receiver<bool>) -> Result<()> {
    let over = find(&init.over)?;
    let place = Place::new(&init.place, init.address.as_ref());
    let library = library(&init.place, init.address.as_ref());
    match init.part {
        Part::Instance { name, port, mesh, history, breakable } => {
            let library = library.with_role(&format!("{name}-asks"));
            let place = place.with_role(&name);
            incidents::tell(&place)?;
            incidents::tell(&library)?;
            let now = now_us;
            let instance =
                Instance { name, over, place, library, mesh, history, breakable, broker_runs, now };
            // Browsers are served by threads of their own, beside the transport's.
            roles::runtime(2)?.block_on(async {
                let listener = web::listen(port).await?;
                say(&Told::Serves(listener.local_addr()?.port()));
                let (orders, mut ordered) = mpsc::channel(4);
                tokio::spawn(async move {
                    while let Some(order) = ordered.recv().await {
                        say(&if order == Order::Kill { Told::Kill } else { Told::Start });
                    }
                });
                instance.run(listener, orders, stop).await
            })
        }
        Part::History { store } => {
            let store = Arc::new(Store::open(&store)?);
            let (joined, mut has_joined) = watch::channel(false);
            let (durable, asked_with) =
                over.durable.zip(over.library).context("this transport has no history")?;
            let (kept, asked) = (Arc::clone(&store), stop.clone());
            let keeper = place.clone().with_role("history");
            let library = library.with_role("library");
            incidents::tell(&keeper)?;
            incidents::tell(&library)?;
            let keeping = thread("keeper", move || history::keep(durable, keeper, kept, joined, stop))?;
            let answering = thread("library", move || archive::answer(asked_with, library, store, asked))?;
            roles::runtime(0)?.block_on(async {
                if has_joined.wait_for(|joined| *joined).await.is_ok() {
                    say(&Told::Joined);
                }
            });
            for thread in [keeping, answering] {
                thread.join().map_err(|_| anyhow!("a thread of the history panicked"))??;
            }
            Ok(())
        }
    }
}
