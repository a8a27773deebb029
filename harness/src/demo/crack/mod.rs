//! `lab crack`: finds the word that has a SHA-1 hash. Ventilator and sink run in this
//! process. Each worker is a process of its own, started by the same command with which
//! another terminal adds a worker.

mod compare;
mod join;
mod plan;
mod progress;
mod search;
mod transport;
mod workers;

use std::process::ExitCode;

use anyhow::Result;

use crate::broker::{Server, Source};
use crate::command::{interruptible, start};
use crate::process::guard;
use crate::roles;
pub(crate) use plan::CrackArgs;
use plan::Plan;
use transport::Over;

pub(crate) fn main(args: &CrackArgs) -> Result<ExitCode> {
    if let Some(transport) = &args.join {
        return join::main(args, &Over::find(transport)?);
    }
    let plan = Plan::of(args)?;
    let source = plan.source()?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(crack(args, &plan, source));
    runtime.shutdown_background();
    done
}

async fn crack(args: &CrackArgs, plan: &Plan, source: Option<Source>) -> Result<ExitCode> {
    let mut server = None;
    if let (Some(which), Some(source)) = (plan.over.entry.broker, source) {
        if source.is_private() {
            errln!("starting a private {which} …");
        }
        match interruptible(start(&plan.over.entry, which, &source, true)).await {
            Some(started) => server = Some(started?),
            None => return Ok(ExitCode::from(130)),
        }
    }
    let address = server.as_ref().map(Server::address);
    let done = match args.compare {
        true => compare::main(plan, address, &args.batches, args.rounds).await,
        false => search::main(plan, address).await,
    };
    if let Some(server) = server {
        server.stop().await?;
    }
    done
}
