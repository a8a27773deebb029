//! The labs that workers can be asked over, and how they are asked.

use std::time::Duration;

use anyhow::Result;
use labs::apps::gather::{Gathered, Gatherer};
use labs::catalog::{self, Pattern, Visitor};
use labs::erased::PubSubLab;
use labs::lab::Place;
use labs::pubsub::PubSub;

/// Maximum time to wait for workers before the first question.
const MEETING: Duration = Duration::from_secs(20);

/// A publish/subscribe lab without its type, with its catalog entry.
pub(super) struct Handle {
    pub(super) entry: catalog::Entry,
    pub(super) lab: PubSubLab,
}

/// How to ask, and where the results go.
pub(super) struct Asking<'a> {
    pub(super) place: &'a Place,
    /// Workers to wait for before the first question.
    pub(super) expected: usize,
    pub(super) deadline: Duration,
    /// The pause between questions; `None` to ask once.
    pub(super) every: Option<Duration>,
    /// Called before the first question, when the workers are known.
    pub(super) met: &'a mut dyn FnMut(usize) -> Result<()>,
    pub(super) tell: &'a mut dyn FnMut(&Gathered) -> Result<()>,
}

/// The publish/subscribe labs with a broker that any number of publishers can use.
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
pub(super) fn handle(over: &str) -> Result<Handle> {
    let mut handles = Handles::default();
    catalog::visit(&mut handles);
    let own = handles.0.into_iter().find(|handle| handle.entry.transport == over);
    own.ok_or_else(|| {
        crate::command::no_transport(
            "status",
            over,
            &crate::command::transports(Pattern::PubSub, |lab| lab.broker.is_some()),
        )
    })
}

pub(super) async fn ask(lab: &PubSubLab, asking: Asking<'_>) -> Result<()> {
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
