//! The whole programs of `labs/examples`, over every lab of their pattern.

#[path = "../../../labs/examples/durable.rs"]
mod durable;
#[path = "../../../labs/examples/oneway.rs"]
mod oneway;
#[path = "../../../labs/examples/pipeline.rs"]
mod pipeline;
#[path = "../../../labs/examples/pubsub.rs"]
mod pubsub;
#[path = "../../../labs/examples/queue.rs"]
mod queue;
#[path = "../../../labs/examples/reqrep.rs"]
mod reqrep;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::LocalBoxFuture;
use labs::catalog::{self, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Lab, Place};
use labs::oneway::OneWay;
use labs::pipeline::Pipeline;
use labs::pubsub::PubSub;
use labs::queue::Queue;
use labs::reqrep::RequestReply;
use libtest_mimic::Trial;

use crate::conformance::Site;
use crate::needs::{Need, Needs, needs};

pub(crate) fn trials() -> Vec<Trial> {
    let mut suite = Suite(Vec::new());
    catalog::visit(&mut suite);
    suite.0
}

type Program = for<'a> fn(&'a Place, &'a mut Vec<u8>) -> LocalBoxFuture<'a, Result<()>>;

struct Suite(Vec<Trial>);

impl Suite {
    /// What the program prints does not depend on the lab.
    fn add<L: Lab>(&mut self, pattern: Pattern, program: Program, expected: &'static str) {
        let lab = catalog::name::<L>(pattern);
        let all = L::BROKER.map_or_else(Needs::default, |broker| Need::FullBroker(broker).into());
        self.0.push(needs(all, &format!("examples::{lab}"), move || {
            let site = Site::new(&format!("example-{lab}"), L::BROKER)?;
            let (place, mut printed) = (site.place(), Vec::new());
            let run = site.soon("the program ends", program(&place, &mut printed));
            harness::roles::runtime(0)?.block_on(run)?;
            let printed = String::from_utf8(printed).context("it printed no text")?;
            ensure!(lines(&printed) == lines(expected), "it printed:\n{printed}");
            Ok(())
        }));
    }
}

/// The lines in alphabetical order: when a refused message comes again is not the same everywhere.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

impl Visitor for Suite {
    fn one_way<L: OneWay>(&mut self) {
        self.add::<L>(
            Pattern::OneWay,
            |place, out| Box::pin(oneway::program::<L>(place, out)),
            "received message 1\nreceived message 2\nreceived message 3\nreceived message 4\n\
             received message 5\nreceived message 6\nreceived message 7\nreceived message 8\n\
             received message 9\nreceived message 10",
        );
    }
    fn request_reply<L: RequestReply>(&mut self) {
        self.add::<L>(
            Pattern::RequestReply,
            |place, out| Box::pin(reqrep::program::<L>(place, out)),
            "1 + 1 = 2\n2 + 2 = 4\n3 + 3 = 6",
        );
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.add::<L>(
            Pattern::PubSub,
            |place, out| Box::pin(pubsub::program::<L>(place, out)),
            "ann heard event 1, event 2, event 3, event 4, event 5\n\
             bob heard event 1, event 2, event 3, event 4, event 5",
        );
    }
    fn pipeline<L: Pipeline>(&mut self) {
        self.add::<L>(
            Pattern::Pipeline,
            |place, out| Box::pin(pipeline::program::<L>(place, out)),
            "the sum of the squares of 1 to 10 is 385",
        );
    }
    fn queue<L: Queue>(&mut self) {
        self.add::<L>(
            Pattern::Queue,
            |place, out| Box::pin(queue::program::<L>(place, out)),
            "done with message 1, attempt 1\ndone with message 2, attempt 1\nrefused message 3\n\
             done with message 3, attempt 2\ndone with message 4, attempt 1\n\
             done with message 5, attempt 1",
        );
    }
    fn durable<L: DurablePubSub>(&mut self) {
        self.add::<L>(
            Pattern::Durable,
            |place, out| Box::pin(durable::program::<L>(place, out)),
            "ann missed event 1\nann missed event 2\nann missed event 3",
        );
    }
}
