//! The cracker over every pipeline lab of the catalog, as plain function
//! pointers, called once a hunt.

use anyhow::Result;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use labs::apps::crack::worker::{self, Worked};
use labs::apps::crack::{self, Ended, Happened, Job, Order};
use labs::catalog::{self, Entry, Particular, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Lab, Place};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::reqrep::RequestReply;
use tokio::sync::mpsc;

/// Hears what happens.
pub(super) type Tell<'a> = &'a mut dyn FnMut(Happened);
type Hunt =
    for<'a> fn(&'a Place, &'a Job, mpsc::Receiver<Order>, Tell<'a>) -> LocalBoxFuture<'a, Result<Ended>>;
type Work = for<'a> fn(&'a Place, LocalBoxFuture<'a, ()>) -> LocalBoxFuture<'a, Result<Worked>>;
type Remove = for<'a> fn(&'a Place) -> LocalBoxFuture<'a, Result<()>>;

/// How to crack over a lab without knowing its type.
pub(super) struct Over {
    pub(super) entry: Entry,
    /// Ventilator and sink.
    pub(super) hunt: Hunt,
    /// One worker.
    pub(super) work: Work,
    /// Takes away what is left in the broker.
    pub(super) remove: Remove,
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
        let known = crate::cli::transports(Pattern::Pipeline, |_| true);
        Err(crate::cli::no_transport("the cracker", transport, &known))
    }

    /// Whether workers can be processes of their own.
    pub(super) fn crosses_processes(&self) -> bool {
        self.entry.transport != "inproc"
    }
}

struct Collect(Vec<Over>);

impl Visitor for Collect {
    fn one_way<L: OneWay>(&mut self) {}
    fn request_reply<L: RequestReply>(&mut self) {}
    fn pub_sub<L: PubSub>(&mut self) {}
    fn pipeline<L: Pipeline>(&mut self) {
        self.0.push(Over {
            entry: Entry::of::<L>(Pattern::Pipeline, Particular::Sharing(L::SHARING)),
            hunt: |place, job, orders, tell| crack::hunt::<L>(place, job, orders, tell).boxed_local(),
            work: |place, dismissed| worker::work::<L>(place, dismissed).boxed_local(),
            remove: |place| {
                async move {
                    L::remove(place).await?;
                    <L::Control as Lab>::remove(&place.part("control")).await
                }
                .boxed_local()
            },
        });
    }
    fn queue<L: Queue>(&mut self) {}
    fn durable<L: DurablePubSub>(&mut self) {}
}
