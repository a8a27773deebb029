//! Every lab of the catalog as a [`Handle`]: the one place where the measured loops
//! meet the labs' types.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::{self, Particular, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Knob, Lab, Place};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::reqrep::RequestReply;

use super::enter::start_role;
use super::handle::{Handle, RoleFn};
use super::runtime::{RUNTIME_THREADS, block_on};
use super::{durable, oneway, pipeline, pubsub, queue, reqrep, send_loop};

/// Every lab of the catalog, ready to run where it is built in.
pub fn handles() -> Vec<Handle> {
    let mut built = Handles::default();
    catalog::visit(&mut built);
    let handle = |entry: catalog::Entry| {
        let at = built.0.iter().position(|handle| handle.entry.name == entry.name);
        at.map_or_else(|| Handle::not_built_in(entry), |at| built.0[at].clone())
    };
    catalog::entries().into_iter().map(handle).collect()
}

/// Collects handles; also used for labs that are not in the catalog.
#[derive(Default)]
pub struct Handles(pub Vec<Handle>);

impl Handles {
    fn push<L: Lab>(&mut self, pattern: Pattern, particular: Particular, run: RoleFn) {
        let entry = catalog::Entry::of::<L>(pattern, particular);
        self.0.push(Handle { entry, run, remove: remove::<L>, publishers: None, floor: false });
    }
}

impl Visitor for Handles {
    fn one_way<L: OneWay>(&mut self) {
        self.push::<L>(Pattern::OneWay, Particular::None, |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, oneway::run::<L>)
        });
    }
    fn request_reply<L: RequestReply>(&mut self) {
        self.push::<L>(
            Pattern::RequestReply,
            Particular::Matching(L::MATCHING),
            |init, inbox, outbox, registry| start_role(init, inbox, outbox, registry, reqrep::run::<L>),
        );
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.push::<L>(Pattern::PubSub, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, pubsub::run::<L>)
        });
        if let Some(handle) = self.0.last_mut() {
            handle.publishers = L::PUBLISHERS;
        }
    }
    fn pipeline<L: Pipeline>(&mut self) {
        self.push::<L>(
            Pattern::Pipeline,
            Particular::Sharing(L::SHARING),
            |init, inbox, outbox, registry| start_role(init, inbox, outbox, registry, pipeline::run::<L>),
        );
        if let Some(handle) = self.0.last_mut() {
            handle.remove = remove_pipeline::<L>;
        }
    }
    fn queue<L: Queue>(&mut self) {
        self.push::<L>(
            Pattern::Queue,
            Particular::Confirmed(L::CONFIRMED),
            |init, inbox, outbox, registry| start_role(init, inbox, outbox, registry, queue::run::<L>),
        );
    }
    fn durable<L: DurablePubSub>(&mut self) {
        self.push::<L>(Pattern::Durable, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, durable::run::<L>)
        });
        if let Some(handle) = self.0.last_mut() {
            handle.remove = remove_durable::<L>;
            handle.publishers = L::PUBLISHERS;
        }
    }
}

fn remove<L: Lab>(place: &Place, _: &[String]) -> Result<()> {
    block_on(L::remove(place).boxed_local())
}

fn remove_durable<L: DurablePubSub>(place: &Place, subscribers: &[String]) -> Result<()> {
    let forget = async {
        let lab = L::open(place).await?;
        for subscriber in subscribers {
            lab.forget(subscriber).await?;
        }
        L::remove(place).await
    };
    block_on(forget.boxed_local())
}

fn remove_pipeline<L: Pipeline>(place: &Place, _: &[String]) -> Result<()> {
    let both = async {
        L::remove(place).await?;
        <L::Control as Lab>::remove(&place.namespace("control")).await
    };
    block_on(both.boxed_local())
}

/// The knobs of the loops that measure a pattern; labs have their own.
pub fn knobs(pattern: Pattern) -> &'static [Knob] {
    match pattern {
        Pattern::OneWay | Pattern::PubSub => &[send_loop::FLUSH_EVERY, RUNTIME_THREADS],
        Pattern::RequestReply => &[reqrep::IN_FLIGHT, RUNTIME_THREADS],
        Pattern::Pipeline => {
            &[pipeline::WORK_US, pipeline::WORKER_BATCH, send_loop::FLUSH_EVERY, RUNTIME_THREADS]
        }
        Pattern::Queue => &[queue::PREFETCH, queue::IN_FLIGHT, queue::PLAY_PREFETCH, RUNTIME_THREADS],
        Pattern::Durable => &[send_loop::FLUSH_EVERY, RUNTIME_THREADS],
    }
}
