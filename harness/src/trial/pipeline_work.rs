//! What a pipeline's workers did: who did how much, and where the time went.

use std::path::Path;

use anyhow::Result;
use hdrhistogram::Histogram;
use labs::catalog::Pattern;

use super::spec::Spec;
use crate::measure::account::{self, Collected, Counter, Counters, Worked};
use crate::results::Hops;
use crate::roles::protocol::Kind;
use crate::stats;

/// What the workers' files say.
#[derive(Default)]
pub struct PipelineWork {
    /// Results that each of them handed on.
    pub shares: Vec<u64>,
    /// How long each hop took, ns, at a rate.
    pub hops: Option<Hops<Histogram<u64>>>,
}

/// What the workers' files say, joined with the sink's; nothing where there are
/// no workers.
pub(super) fn work(spec: &Spec, dir: &Path) -> Result<PipelineWork> {
    if spec.handle.entry.pattern != Pattern::Pipeline || !spec.handle.accounts {
        return Ok(PipelineWork::default());
    }
    let names: Vec<String> = (0..spec.receivers).map(|index| format!("{}-{index}", Kind::Worker)).collect();
    let share = |name: &String| Ok(Counters::open(dir, name)?.get(Counter::Sent));
    let shares = names.iter().map(share).collect::<Result<_>>()?;
    if !spec.load.is_open() {
        return Ok(PipelineWork { shares, hops: None });
    }
    let collected = Collected::open(dir, &format!("{}-0", Kind::Sink), spec.senders)?;
    let workers: Vec<Worked> =
        names.iter().map(|name| Worked::open(dir, name, spec.senders)).collect::<Result<_>>()?;
    let mut hops = Hops::<()>::default().map(|()| stats::new_histogram());
    for producer in 0..spec.senders {
        let sent = Counters::open(dir, &format!("{}-{producer}", Kind::Ventilator))?.get(Counter::Sent);
        for journey in account::journeys(&collected, &workers, producer, sent) {
            let took = journey.hops();
            hops.task_queued.saturating_record(took.task_queued);
            hops.worked.saturating_record(took.worked);
            hops.result_queued.saturating_record(took.result_queued);
            if journey.settled.is_some() {
                hops.collected.saturating_record(took.collected);
            }
        }
    }
    Ok(PipelineWork { shares, hops: Some(hops) })
}
