//! The pipeline labs that the cracker can run over.

use anyhow::Result;
use labs::catalog::{self, Entry, Particular, Pattern, Visitor};
use labs::erased::PipelineLab;
use labs::lab::Place;
use labs::pipeline::Pipeline;

/// A pipeline lab without its type, with its catalog entry.
pub(super) struct Over {
    pub(super) entry: Entry,
    pub(super) lab: PipelineLab,
}

impl Over {
    /// The pipeline over this transport, by its name or the lab's.
    pub(super) fn find(name: &str) -> Result<Self> {
        let mut all = Collect(Vec::new());
        catalog::visit(&mut all);
        let transport = name.strip_prefix("pipeline-").unwrap_or(name);
        if let Some(at) = all.0.iter().position(|over| over.entry.transport == transport) {
            return Ok(all.0.swap_remove(at));
        }
        let known = crate::command::transports(Pattern::Pipeline, |_| true);
        Err(crate::command::no_transport("the cracker", transport, &known))
    }

    /// Removes what the search has created in the broker.
    pub(super) async fn remove(&self, place: &Place) -> Result<()> {
        self.lab.remove(place).await?;
        self.lab.control.remove(&place.namespace("control")).await
    }

    /// Whether workers can be separate processes.
    pub(super) fn crosses_processes(&self) -> bool {
        !self.entry.in_process()
    }
}

struct Collect(Vec<Over>);

impl Visitor for Collect {
    fn pipeline<L: Pipeline>(&mut self) {
        self.0.push(Over {
            entry: Entry::of::<L>(Pattern::Pipeline, Particular::Sharing(L::SHARING)),
            lab: PipelineLab::of::<L>(),
        });
    }
}
