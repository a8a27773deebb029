//! Every lab of the catalog as a [`Handle`]: the one place where the measured loops
//! meet the labs' types.

use std::marker::PhantomData;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::{self, Particular, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::erased::QueueLab;
use labs::lab::{Knob, Lab, Place};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::recovery::Recovering;
use labs::reqrep::RequestReply;

use super::enter::start_role;
use super::handle::{Handle, RoleFn};
use super::runtime::{RUNTIME_THREADS, block_on};
use super::{durable, oneway, pipeline, pubsub, queue, reqrep, send_loop};
use crate::measure::recorder::{Full, Recording, Uninstrumented};

/// Every lab of the catalog, ready to run where it is built in.
pub fn handles() -> Vec<Handle> {
    let built = visited::<Full>();
    let handle = |entry: catalog::Entry| {
        let at = built.iter().position(|handle| handle.entry.name == entry.name);
        at.map_or_else(|| Handle::not_built_in(entry), |at| built[at].clone())
    };
    catalog::entries().into_iter().map(handle).collect()
}

/// Every lab that is built in, with loops that only count. They are compiled where this
/// is called: not in the harness, which would double its code.
#[inline]
pub fn uninstrumented_handles() -> Vec<Handle> {
    visited::<Uninstrumented>()
}

#[inline]
fn visited<R: Recording>() -> Vec<Handle> {
    let mut built = Handles::<R>::default();
    catalog::visit(&mut built);
    built.0
}

/// Collects handles, of loops that record so much; also used for labs that are not in
/// the catalog.
pub struct Handles<R = Full>(pub Vec<Handle>, PhantomData<R>);

impl<R> Default for Handles<R> {
    fn default() -> Self {
        Self(Vec::new(), PhantomData)
    }
}

impl Handles {
    /// Of the loops that measure.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Prefix of the names of uninstrumented labs, whose messages are only counted.
pub const UNINSTRUMENTED: &str = "uninstrumented-";

impl<R: Recording> Handles<R> {
    fn push<L: Lab>(&mut self, pattern: Pattern, particular: Particular, run: RoleFn) {
        let mut entry = catalog::Entry::of::<L>(pattern, particular);
        if !R::ACCOUNTS {
            entry.name.insert_str(0, UNINSTRUMENTED);
        }
        let (remove, accounts) = (remove::<L>, R::ACCOUNTS);
        self.0.push(Handle { entry, run, remove, publishers: None, baseline: false, accounts, queue: None });
    }
}

impl<R: Recording> Visitor for Handles<R> {
    fn one_way<L: OneWay>(&mut self) {
        self.push::<L>(Pattern::OneWay, Particular::None, |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, oneway::run::<Recovering<L>, R>)
        });
    }
    fn request_reply<L: RequestReply>(&mut self) {
        self.push::<L>(
            Pattern::RequestReply,
            Particular::Matching(L::MATCHING),
            |init, inbox, outbox, registry| {
                start_role(init, inbox, outbox, registry, reqrep::run::<Recovering<L>, R>)
            },
        );
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.push::<L>(Pattern::PubSub, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, pubsub::run::<Recovering<L>, R>)
        });
        if let Some(handle) = self.0.last_mut() {
            handle.publishers = L::PUBLISHERS;
        }
    }
    fn pipeline<L: Pipeline>(&mut self) {
        self.push::<L>(
            Pattern::Pipeline,
            Particular::Sharing(L::SHARING),
            |init, inbox, outbox, registry| {
                start_role(init, inbox, outbox, registry, pipeline::run::<Recovering<L>, R>)
            },
        );
        if let Some(handle) = self.0.last_mut() {
            handle.remove = remove_pipeline::<L>;
        }
    }
    fn queue<L: Queue>(&mut self) {
        self.push::<L>(
            Pattern::Queue,
            Particular::Confirmed(L::CONFIRMED),
            |init, inbox, outbox, registry| {
                start_role(init, inbox, outbox, registry, queue::run::<Recovering<L>, R>)
            },
        );
        if let Some(handle) = self.0.last_mut() {
            handle.queue = Some(QueueLab::of::<L>());
        }
    }
    fn durable<L: DurablePubSub>(&mut self) {
        self.push::<L>(Pattern::Durable, Particular::Filters(L::FILTERS), |init, inbox, outbox, registry| {
            start_role(init, inbox, outbox, registry, durable::run::<Recovering<L>, R>)
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
