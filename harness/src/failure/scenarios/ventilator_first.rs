//! A ventilator that begins before all workers are there.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::{Particular, Pattern};
use labs::pipeline::Sharing;

use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What, Work};

const TASKS: u32 = 40;
/// Work on each, ms: all together it takes longer than a worker needs to join.
const WORK_MS: u64 = 20;
/// Where workers ask for tasks, they ask for one at a time.
const ONE: [(&str, usize); 3] = [("prefetch", 1), ("credit", 1), ("depth", 1)];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ventilator-first",
    title: "A ventilator that does not wait gives all work to the first worker",
    pattern: Pattern::Pipeline,
    usual: "zeromq",
    question: "Forty tasks are sent when one of two workers has joined, and the second one joins right \
               afterwards. How many tasks does the first worker get?",
    lesson: [
        "Tasks that are pushed go to the workers that are connected at that moment, so the first one to connect \
         gets everything that is sent before the second one is there.",
        "Wait until all workers have joined before the first task is sent, or let workers ask for tasks instead \
         of pushing them.",
        "The same happens whenever workers are added under load: tasks that were pushed before do not go to the new worker.",
    ],
    why_not: |_| None,
    play: |experiment| play(experiment).boxed_local(),
};

fn done(log: &Log, who: &str) -> usize {
    log.different(who, What::Effect, "task-")
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    let all = TASKS as usize;
    let sharing = experiment.handle.entry.particular;
    let pushed = matches!(sharing, Particular::Sharing(Sharing::RoundRobin | Sharing::Random));
    let mut shares = Vec::new();
    for (title, together) in [("the second worker joins late", false), ("both workers are there", true)] {
        let mut run = experiment.part(title, &ONE).await?;
        let ventilator = run.join(Kind::Ventilator, 0).await?;
        run.join(Kind::Sink, 0).await?;
        let work = Work { work_ms: WORK_MS, ..Work::default() };
        let burst = Burst { prefix: "task-".into(), count: TASKS, ..Burst::default() };
        let first = run.join(Kind::Worker, 0).await?;
        if together {
            let second = run.join(Kind::Worker, 1).await?;
            run.work(second, work.clone());
            run.work(first, work);
            run.burst(ventilator, burst);
        } else {
            run.burst(ventilator, burst);
            if pushed {
                run.until(PATIENCE, |log| log.count("ventilator-0", What::Written) == all).await;
            }
            // Where workers ask, tasks are sent as they ask for them.
            run.work(first, work.clone());
            let second = run.join(Kind::Worker, 1).await?;
            run.work(second, work);
        }
        run.until(PATIENCE, |log| done(log, "worker") == all).await;
        let log = run.end().await?;
        let (share, whole) = (done(&log, "worker-0"), done(&log, "worker"));
        experiment.fact(title, format!("worker-0 did {share} of {whole}"));
        shares.push((share, whole));
    }
    let [(late, late_all), (early, early_all)] = shares[..] else { return Ok(()) };
    experiment.holds(
        "every task is done",
        format!("{late_all} and {early_all} of {all}"),
        late_all == all && early_all == all,
    );
    if pushed {
        experiment.holds_if(
            late_all == all,
            "tasks are pushed: the first worker keeps nearly all that was sent before the second one joined",
            format!("{late} of {all}"),
            late * 10 >= all * 9,
        );
    } else {
        experiment.holds_if(
            late_all == all,
            "workers ask for tasks: the second one gets its share, although it joined late",
            format!("the first worker did {late} of {all}"),
            late * 10 < all * 9,
        );
    }
    experiment.holds_if(
        early_all == all,
        "when both are there from the beginning, both have work",
        format!("the first worker did {early} of {all}"),
        (all / 5..=all - all / 5).contains(&early),
    );
    Ok(())
}
