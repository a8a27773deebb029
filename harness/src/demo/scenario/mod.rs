//! The scenarios of `lab run`, one file per pattern, with real roles and real messages.
//! Printed lines are the roles' own reports, and each conclusion is counted from them: if
//! events take another course, the scenario says so. A scenario runs at full speed, and is
//! printed when it has ended.

mod drawn;
mod durable;
mod line;
mod narrator;
mod oneway;
mod pipeline;
mod pubsub;
mod queue;
mod reqrep;
mod transcript;

use anyhow::Result;
use labs::catalog::Pattern;
use narrator::{PATIENCE, Scenario};
use transcript::Transcript;

use crate::broker::Server;
use crate::roles::Handle;
use crate::roles::protocol::Kind;
use crate::supervisor::{Placement, Roles};
use crate::trial;
pub(crate) use transcript::OutputOptions;

/// Plays the scenario of a lab's pattern. The place is cleaned up afterwards.
pub(crate) async fn run(handle: &Handle, server: Option<&Server>, output: &OutputOptions) -> Result<()> {
    let address = server.map(Server::address);
    let name = format!("lab-run-{:08x}", trial::run_number());
    let placement = Placement { threads: handle.entry.in_process(), ..Placement::default() };
    let roles = Roles::start(handle, Vec::new(), placement)?;
    // More subscribers than any scenario has: what is not there need not be removed.
    let subscribers = (0..4).map(|index| format!("{}-{index}", Kind::Subscriber)).collect();
    // What is in a private broker goes with it.
    let own = server.filter(|server| !server.is_private()).map(Server::address);
    trial::note(handle, &name, own, subscribers);
    let transcript = Transcript::new(output);
    let mut scenario = Scenario { handle, output, roles, name, address, heard: Vec::new(), transcript };
    scenario.tell_knobs();
    let played = match handle.entry.pattern {
        Pattern::OneWay => oneway::run(&mut scenario).await,
        Pattern::RequestReply => reqrep::run(&mut scenario).await,
        Pattern::PubSub => pubsub::run(&mut scenario).await,
        Pattern::Pipeline => pipeline::run(&mut scenario).await,
        Pattern::Queue => queue::run(&mut scenario).await,
        Pattern::Durable => durable::run(&mut scenario).await,
    };
    for complaint in scenario.roles.shut_down(PATIENCE).await {
        scenario.direct("", &complaint);
    }
    let subscribers = scenario.roles.names(Kind::Subscriber);
    let removed = trial::remove(handle, &scenario.name, address, subscribers).await;
    trial::done(&scenario.name);
    let broker = server.map(|server| server.broker().to_string());
    scenario.transcript.print(output, broker.as_deref()).await;
    removed?;
    played
}
