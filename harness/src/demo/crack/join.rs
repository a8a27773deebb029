//! One worker process: started by the search, or from another terminal.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use labs::apps::crack::worker::{self, Why, Worked};
use labs::lab::{Directory, Place};
use tokio::signal::unix::SignalKind;

use super::plan::{CrackArgs, knobs};
use super::transport::Over;
use crate::broker;
use crate::command::{Given, Usage, thousands};
use crate::demo::incidents;
use crate::process::signals::{Interrupts, Listener};
use crate::roles;

/// The namespaces of a pipeline that workers connect to when there is no broker.
pub(super) const PARTS: [&str; 3] = ["tasks", "results", "control"];

pub(super) fn main(args: &CrackArgs, over: &Over) -> Result<ExitCode> {
    if !over.crosses_processes() {
        bail!(Usage("channels stay in one process: nobody can join a search over inproc".to_owned()));
    }
    let name = args.name.clone().unwrap_or_else(|| format!("helper-{}", std::process::id()));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        bail!(Usage(format!("`{name}` is not a worker's name; use letters, digits, `-`, `_` and `.`")));
    }
    let at = args.at.as_ref().map(|Given(at)| at.as_str()).unwrap_or_default();
    let directory = Arc::new(Directory::supervised());
    let address = match over.entry.broker {
        Some(which) => Some(broker::address(which, at).map_err(|error| {
            Usage(format!(
                "--at is not the address of a broker; copy the command that the search shows: {error:#}"
            ))
        })?),
        None => {
            for (part, address) in by_part(at)? {
                directory.tell(part, vec![address.to_owned()]);
            }
            None
        }
    };
    let knobs = knobs(&args.set, &over.entry)?;
    let place = Place::new(&args.place, address.as_ref())
        .with_role(&name)
        .with_directory(directory)
        .with_knobs(knobs);
    incidents::tell(&place)?;
    let runtime = roles::runtime(0)?;
    let worked = runtime.block_on(async {
        let shutdown = shutdown()?;
        errln!("{name} works for {} over {}; Ctrl-C ends it", args.place, over.entry.transport);
        worker::work(&over.lab, &place, shutdown).await
    })?;
    runtime.shutdown_background();
    say(&name, &worked);
    Ok(if worked.why == Why::SearchGone { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn by_part(at: &str) -> Result<BTreeMap<&str, &str>> {
    let pairs: Option<BTreeMap<&str, &str>> = at.split(',').map(|text| text.split_once('=')).collect();
    match pairs {
        Some(pairs) if pairs.keys().copied().eq(sorted(PARTS)) => Ok(pairs),
        _ => bail!(Usage(format!(
            "`{at}` does not have the addresses of {}; copy the command that the search shows",
            PARTS.join(", ")
        ))),
    }
}

fn sorted<const N: usize>(mut names: [&'static str; N]) -> [&'static str; N] {
    names.sort_unstable();
    names
}

/// Resolves at Ctrl-C or SIGTERM.
fn shutdown() -> Result<impl Future<Output = ()>> {
    let (mut interrupts, mut term) = (Interrupts::new()?, Listener::new(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            () = interrupts.next() => {}
            () = term.recv() => {}
        }
    })
}

fn say(name: &str, worked: &Worked) {
    let why = match worked.why {
        Why::Stopped => "was told to stop",
        Why::ShutDown => "leaves; its unfinished tasks go to others",
        Why::SearchGone => "leaves, since the search is gone",
    };
    let words = thousands(worked.words as f64);
    errln!("{name} {why}: {words} words in {} tasks", worked.tasks);
    if worked.refused > 0 {
        errln!("{name} received {} messages that are not tasks", worked.refused);
    }
}
