//! One slow worker of two, with a small and a large prefetch.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use super::shared::one_process;
use crate::failure::experiment::{Experiment, ms};
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What, Work};

const MESSAGES: u32 = 60;
/// Work of the slow consumer and of the quick one on each message, ms.
const SLOW_MS: u64 = 100;
const QUICK_MS: u64 = 1;
const PREFETCH: [usize; 3] = [1, 10, 100];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "unfair-dispatch",
    title: "Unfair dispatch: a slow worker holds work that others could do",
    pattern: Pattern::Queue,
    usual: "jetstream",
    question: "Sixty jobs, a worker that takes 1 ms for each and one that takes 100 ms. How long does it take \
               until all are done with a prefetch of 1, of 10 and of 100?",
    lesson: [
        "Prefetch decides how many messages a consumer holds before it has settled any, and what one consumer \
         holds no other can do.",
        "With a large prefetch a slow worker holds many messages while fast ones have nothing to do.",
        "Begin with 1 where work takes long, and raise it only until the time on the way to the broker is \
         hidden.",
    ],
    why_not: |entry| {
        one_process(entry).or(match entry.transport {
            "redis" | "redis-stream" => {
                Some("its consumers ask for work when they have none, and hold little in advance")
            }
            "mqtt" => Some("its broker gives messages to consumers in turn, whatever the prefetch"),
            _ => None,
        })
    },
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    let all = MESSAGES as usize;
    let mut seen = Vec::new();
    for prefetch in PREFETCH {
        let title = format!("prefetch {prefetch}");
        let mut run = experiment.part(&title, &[("play-prefetch", prefetch)]).await?;
        let producer = run.join(Kind::Producer, 0).await?;
        let slow = run.join(Kind::Consumer, 0).await?;
        let quick = run.join(Kind::Consumer, 1).await?;
        run.work(slow, Work { work_ms: SLOW_MS, ..Work::default() });
        run.work(quick, Work { work_ms: QUICK_MS, ..Work::default() });
        run.burst(producer, Burst { prefix: "job-".into(), count: MESSAGES, ..Burst::default() });
        let done = |log: &Log| log.different("consumer", What::Effect, "job-");
        run.until(PATIENCE, |log| done(log) == all).await;
        let log = run.end().await?;
        let begin = log.times("producer", What::Sent).into_values().min().unwrap_or(0);
        let makespan = log.last("consumer", What::Effect).unwrap_or(begin).saturating_sub(begin);
        let share = log.different("consumer-0", What::Effect, "job-");
        experiment.fact(
            &format!("prefetch {prefetch}"),
            format!("all done after {}; the slow worker did {share} of {all}", ms(makespan)),
        );
        seen.push((done(&log) == all, makespan, share));
    }
    let [(some, small, few), _, (other, large, many)] = seen[..] else { return Ok(()) };
    experiment.holds(
        "everything is done, with every prefetch",
        format!("{all} jobs"),
        seen.iter().all(|seen| seen.0),
    );
    experiment.holds_if(
        some && other,
        "a prefetch of 100 takes at least 1.5 times as long as a prefetch of 1",
        format!("{} against {}", ms(large), ms(small)),
        large >= small + small / 2,
    );
    experiment.holds_if(
        some && other,
        "because the slow worker has a larger share of the work",
        format!("{many} against {few} of {all}"),
        many > few,
    );
    Ok(())
}
