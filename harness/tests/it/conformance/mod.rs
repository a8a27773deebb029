//! Every lab of the catalog is held to what it promises.
//!
//! A check is one function, generic over a contract; it fails with an error
//! that begins with the promise's name. Walking the catalog applies the checks
//! of a pattern to each of its labs, so that a new lab needs no line here.
//! `broken` shows for each promise that its check can fail: it runs it against
//! labs that break exactly this promise.

mod broken;
mod crowd;
mod deaf;
mod durable;
mod faulty;
mod few_files;
mod foreign;
mod hops;
mod hostile;
mod in_flight;
mod killed;
mod leftovers;
mod mqtt;
mod nats;
mod oneway;
mod orphan;
mod overload;
mod patient;
mod pipeline;
mod place;
mod pubsub;
mod queue;
mod queue_dead;
mod queue_kept;
mod redis_stream;
mod reqrep;
mod role_processes;
mod stomp;
mod stream;
mod survival;
mod together;
mod zero;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use harness::roles::{self, Handle};
use labs::catalog::{self, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Broker, Knob, Lab};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::reqrep::RequestReply;
use libtest_mimic::Trial;
use tokio::task::unconstrained;

use crate::needs::{Need, Needs, needs, proof};
pub(crate) use leftovers::nothing_left;
pub(crate) use place::{Site, end, own, shared};

/// No check takes this long, on however slow a machine.
const TOO_LONG: Duration = Duration::from_secs(600);

/// One promise, and the check that holds a lab to it.
pub(crate) struct Promise {
    name: String,
    check: Check,
}

type Check = Box<dyn Fn(Site) -> LocalBoxFuture<'static, Result<()>> + Send>;

impl Promise {
    /// After the check, the lab is removed: nothing it did touches another.
    fn of<L: Lab, F>(name: &str, check: fn(Site) -> F) -> Self
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let check: Check = Box::new(move |site| {
            Box::pin(async move {
                let place = site.place();
                let held = check(site).await;
                let removed = L::remove(&place).await.context("cannot remove what the check has left");
                held.and(removed)
            })
        });
        Self { name: name.to_owned(), check }
    }

    /// Runs the check; an error begins with the promise's name. All roles are
    /// futures of one task here, and each has a task of its own in life: so they
    /// do not share one task's budget of steps.
    fn hold(&self, site: Site) -> Result<()> {
        self.hold_within(site, TOO_LONG)
    }

    fn hold_within(&self, site: Site, limit: Duration) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(async { tokio::time::timeout(limit, unconstrained((self.check)(site))).await })
            .context("the check does not end")
            .flatten()
            .with_context(|| self.name.clone())
    }
}

/// `promises![L: order, loss]`: checks named after the promise, each generic over the lab.
macro_rules! promises {
    ($lab:ty: $($name:ident),+ $(,)?) => {
        vec![$($crate::conformance::Promise::of::<$lab, _>(stringify!($name), $name::<$lab>)),+]
    };
}
use promises;
use together::together;

/// The checks of every lab, and the proof that each can fail.
pub(crate) fn trials() -> Vec<Trial> {
    let mut suite = Suite(Vec::new());
    catalog::visit(&mut suite);
    suite.0.extend(broken::trials());
    suite.0.extend(role_processes::trials());
    suite.0.extend(crowd::trials());
    suite.0.extend(hops::trials());
    suite.0.extend(hostile::trials());
    suite.0.extend(deaf::trials());
    suite.0.extend(redis_stream::trials());
    suite.0.extend(stomp::trials());
    suite.0.extend(mqtt::trials());
    suite.0
}

/// The labs whose roles this program plays: those of the catalog, and broken ones.
pub(crate) fn handles() -> Vec<Handle> {
    let broken = faulty::handles().into_iter().chain(crate::scenarios::broken_handles());
    roles::handles().into_iter().chain(broken).collect()
}

/// Whatever was read is declared, with the default with which it was read.
fn declared(asked: &[Knob], knobs: &[Knob]) -> Result<()> {
    for knob in asked {
        let of_that_name: Vec<usize> =
            knobs.iter().filter(|known| known.name == knob.name).map(|known| known.default).collect();
        ensure!(!of_that_name.is_empty(), "knobs: `{}` is read and not in KNOBS", knob.name);
        ensure!(
            of_that_name.contains(&knob.default),
            "knobs: `{}` is read with the default {}, and KNOBS says {of_that_name:?}",
            knob.name,
            knob.default
        );
    }
    Ok(())
}

struct Suite(Vec<Trial>);

impl Suite {
    /// `others` are the knobs of labs that this one uses.
    fn add<L: Lab>(&mut self, pattern: Pattern, promises: Vec<Promise>, others: &'static [Knob]) {
        let lab = catalog::name::<L>(pattern);
        let tested = survival::is_put_to_the_test::<L>(pattern, &promises);
        // Needs no broker, and so is never ignored.
        self.0.push(trial(format!("conformance::{lab}::is_killed_if_durable"), None, || tested));
        for (index, promise) in promises.into_iter().chain(promises![L: together]).enumerate() {
            let (lab, name) = (lab.clone(), format!("conformance::{lab}::{}", promise.name));
            // They start a node of their own, twice, which takes RabbitMQ long.
            let slow = L::BROKER == Some(Broker::RabbitMq) && survival::kills(&promise);
            let trial = trial(name, L::BROKER, move || {
                let site = Site::new(&format!("{lab}-{}", promise.name), L::BROKER)?;
                promise.hold(site.clone())?;
                // The first promise of a pattern is about a plain exchange.
                if index == 0 {
                    zero::at_zero(L::KNOBS, &site, &promise)?;
                }
                declared(&site.knobs_asked(), &[L::KNOBS, others].concat())
            });
            self.0.push(if slow { proof(trial) } else { trial });
        }
    }
}

impl Visitor for Suite {
    fn one_way<L: OneWay>(&mut self) {
        self.add::<L>(Pattern::OneWay, oneway::promises::<L>(), &[]);
    }
    fn request_reply<L: RequestReply>(&mut self) {
        self.add::<L>(Pattern::RequestReply, reqrep::promises::<L>(), &[]);
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.add::<L>(Pattern::PubSub, pubsub::promises::<L>(), &[]);
    }
    fn pipeline<L: Pipeline>(&mut self) {
        self.add::<L>(Pattern::Pipeline, pipeline::promises::<L>(), L::Control::KNOBS);
    }
    fn queue<L: Queue>(&mut self) {
        self.add::<L>(Pattern::Queue, queue::promises::<L>(), &[]);
    }
    fn durable<L: DurablePubSub>(&mut self) {
        self.add::<L>(Pattern::Durable, durable::promises::<L>(), &[]);
    }
}

fn trial(name: String, broker: Option<Broker>, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    let all = broker.map_or_else(Needs::default, |broker| Need::FullBroker(broker).into());
    needs(all, &name, run)
}
