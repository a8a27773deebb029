//! A producer that nothing holds back, and beside it one that has credit.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use super::shared::{keeps_nothing, one_process};
use crate::failure::experiment::{Experiment, ms};
use crate::failure::log::Log;
use crate::failure::run::Run;
use crate::failure::scenario::Scenario;
use crate::measure::clock;
use crate::results::Series;
use crate::roles::protocol::{Burst, Kind, What, Work};

/// Messages of the producer that nothing holds back: a thousand a second, for this long.
const MESSAGES: u32 = 1_000;
const EVERY_US: u64 = 1_000;
/// Their size, bytes.
const SIZE: usize = 16 << 10;
/// The consumer's work on each, ms: it does less than five hundred a second.
const WORK_MS: u64 = 2;
/// Messages that the other producer may have sent and the consumer has not yet done.
const CREDIT: usize = 16;
/// Longest time of a part.
const LONGEST: Duration = Duration::from_secs(12);
/// Nothing more comes.
const QUIET: Duration = Duration::from_millis(700);
/// Between two looks at memory.
const LOOK: Duration = Duration::from_millis(25);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "back-pressure",
    title: "Without back-pressure, latency and memory grow as long as the producer runs",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "A producer sends 1,000 messages a second to a consumer that does about 400. How late is the last \
               message, and where is it meanwhile? And with a credit of 16 messages?",
    lesson: [
        "A queue between a fast producer and a slow consumer does not make the consumer faster: it grows, and \
         every message waits for all that is before it.",
        "With credit, the consumer says how many messages it can take, and the producer waits for that: latency \
         and memory stay small, and the producer learns that it is too fast.",
        "A buffer is for bursts; for a lasting difference somebody has to slow down, to drop, or to add workers.",
    ],
    why_not: |entry| {
        let files = (entry.transport == "jetstream").then_some("it keeps messages in files, not in memory");
        one_process(entry).or_else(|| keeps_nothing(entry)).or(files)
    },
    play: |experiment| play(experiment).boxed_local(),
};

/// What one part showed.
struct Seen {
    all: bool,
    /// All were confirmed, and nothing more came for a while.
    answered: bool,
    sent: usize,
    done: usize,
    /// The latency of the last tenth of messages, median, ns.
    last: u64,
    /// What memory grew by, bytes.
    grew: u64,
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    // First, because a broker seldom gives back the memory that it had.
    let mut run = experiment.part("the consumer gives credit", &[("play-prefetch", 4)]).await?;
    let (producer, consumer) = (run.join(Kind::Producer, 0).await?, run.join(Kind::Consumer, 0).await?);
    run.work(consumer, Work { work_ms: WORK_MS, ..Work::default() });
    let holders = run.holders(producer);
    let (mut sent, mut memory) = (0, Vec::new());
    // A third of the time is enough to see that nothing grows.
    let all = MESSAGES as usize / 3;
    let end = tokio::time::Instant::now() + LONGEST;
    while done_so_far(&run.log) < all && tokio::time::Instant::now() < end {
        look(&run, &holders, &mut memory);
        // What was done since then is credit for as many more.
        let room = (CREDIT + done_so_far(&run.log)).min(all).saturating_sub(sent);
        if room > 0 {
            run.burst(
                producer,
                Burst { count: u32::try_from(room)?, size: SIZE, ..burst(u32::try_from(sent)?) },
            );
            sent += room;
        }
        let before = done_so_far(&run.log);
        run.until(LOOK, |log| done_so_far(log) >= (before + CREDIT / 4).min(all)).await;
    }
    let credit = finish(run, memory, all).await?;

    let mut run = experiment.part("nothing holds the producer back", &[("play-prefetch", 4)]).await?;
    let (producer, consumer) = (run.join(Kind::Producer, 0).await?, run.join(Kind::Consumer, 0).await?);
    run.work(consumer, Work { work_ms: WORK_MS, ..Work::default() });
    let holders = run.holders(producer);
    run.burst(producer, Burst { count: MESSAGES, every_us: EVERY_US, size: SIZE, ..burst(0) });
    let mut memory = Vec::new();
    let end = tokio::time::Instant::now() + LONGEST;
    while done_so_far(&run.log) < MESSAGES as usize && tokio::time::Instant::now() < end {
        look(&run, &holders, &mut memory);
        run.listen(LOOK).await;
    }
    let unbounded = finish(run, memory, MESSAGES as usize).await?;

    for (name, seen) in [("without back-pressure", &unbounded), ("with credit", &credit)] {
        experiment.fact(&format!("{name}: latency of the last tenth, median"), ms(seen.last));
        experiment.fact(&format!("{name}: memory grew by"), format!("{} KiB", seen.grew >> 10));
    }
    let both = unbounded.all && credit.all;
    let lost = [&unbounded, &credit].iter().any(|seen| seen.answered && !seen.all);
    experiment.holds_if(
        both || lost,
        "every message arrives, with and without credit",
        format!("{} of {} and {} of {}", unbounded.done, unbounded.sent, credit.done, credit.sent),
        both,
    );
    experiment.holds_if(
        both,
        "without back-pressure, the last messages are late: at least 10 times as late as with credit",
        format!("{} against {}", ms(unbounded.last), ms(credit.last)),
        unbounded.last > 10 * credit.last,
    );
    experiment.holds_if(
        both,
        "they are kept in memory meanwhile: it grows by more than with credit",
        format!("{} KiB against {} KiB", unbounded.grew >> 10, credit.grew >> 10),
        unbounded.grew > credit.grew,
    );
    Ok(())
}

fn burst(first: u32) -> Burst {
    Burst { prefix: "m-".into(), first, ..Burst::default() }
}

fn done_so_far(log: &Log) -> usize {
    log.count_of("consumer-0", What::Effect, "m-")
}

/// Notes the memory of those who hold messages: resident, KiB.
fn look(run: &Run<'_>, holders: &[u32], memory: &mut Vec<(f64, f64)>) {
    let resident = |pid: &u32| {
        let process = procfs::process::Process::new(i32::try_from(*pid).ok()?).ok()?;
        process.stat().ok().map(|stat| stat.rss * procfs::page_size())
    };
    let bytes: u64 = holders.iter().filter_map(resident).sum();
    let at = clock::now().saturating_sub(run.started()) as f64 / 1e9;
    memory.push((at, (bytes >> 10) as f64));
}

async fn finish(mut run: Run<'_>, memory: Vec<(f64, f64)>, all: usize) -> Result<Seen> {
    let start = run.started();
    let (sent, got) = (run.log.times("producer-0", What::Sent), run.log.times("consumer-0", What::Effect));
    let mut latencies: Vec<(f64, f64)> = got
        .iter()
        .filter_map(|(text, at)| {
            let waited = at.saturating_sub(*sent.get(text)?);
            Some((at.saturating_sub(start) as f64 / 1e9, waited as f64 / 1e6))
        })
        .collect();
    latencies.sort_by(|a, b| a.0.total_cmp(&b.0));
    let tail = latencies.len().saturating_sub(latencies.len().div_ceil(10));
    let mut last: Vec<f64> = latencies[tail..].iter().map(|(_, ms)| *ms).collect();
    last.sort_by(f64::total_cmp);
    let last = last.get(last.len() / 2).copied().unwrap_or(0.0);
    let grew = match (memory.first(), memory.iter().map(|(_, kib)| *kib).max_by(f64::total_cmp)) {
        (Some((_, first)), Some(most)) => most - first,
        _ => 0.0,
    };
    let done = latencies.len();
    let confirmed = run.log.different("producer-0", What::Confirmed, "m-");
    if done < all {
        run.until_quiet(QUIET, done_so_far).await;
    }
    let answered = confirmed == all && done_so_far(&run.log) == done;
    // A picture needs no more than that.
    let thin = |points: Vec<(f64, f64)>| {
        let step = points.len().div_ceil(200).max(1);
        points.into_iter().step_by(step).collect()
    };
    run.series.push(Series { name: "latency".into(), unit: "ms".into(), points: thin(latencies) });
    run.series.push(Series { name: "memory".into(), unit: "KiB".into(), points: thin(memory) });
    run.end().await?;
    Ok(Seen {
        all: done == all,
        answered,
        sent: all,
        done,
        last: (last * 1e6) as u64,
        grew: (grew * 1024.0) as u64,
    })
}
