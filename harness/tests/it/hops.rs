//! A pipeline's hops and its workers' shares, as a benchmark leaves them.

use anyhow::{Context as _, Result, ensure};
use harness::results::{LoadKind, ResultSet};
use harness::stats;
use libtest_mimic::Trial;

use crate::program::bench;
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("hops::result_set_says_where_the_time_went_and_who_did_the_work", result_set)]
}

fn result_set() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let labs = ["pipeline-inproc", "pipeline-tcp"];
    let loads = ["--load", "max", "--load", "200", "--window", "64", "--receivers", "2"];
    let fixed = ["--set", "work-us=2000", "--trials", "2", "--seconds", "0.4", "--warmup", "0.1"];
    bench(&[&labs[..], &loads, &fixed].concat(), &out)?.expect(0)?;
    let (result_set, made) = ResultSet::open(&out)?;
    for cell in &made.cells {
        let summary = cell.summary.as_ref().with_context(|| format!("{} has no summary", cell.id))?;
        ensure!(summary.shares.len() == 2, "{}: {:?}", cell.id, summary.shares);
        ensure!(summary.shares.iter().sum::<u64>() == summary.counts.received, "{}: {summary:?}", cell.id);
        ensure!(cell.knobs.get("work-us") == Some(&2000), "{}: {:?}", cell.id, cell.knobs);
        if cell.load.kind == LoadKind::Max {
            ensure!(summary.hops_ns.is_none(), "{}: a closed loop has no times to count from", cell.id);
            continue;
        }
        let hops = summary.hops_ns.with_context(|| format!("{} has no hops", cell.id))?;
        for (name, times) in hops.named() {
            ensure!(times.count == summary.response_ns.count, "{}: {name}: {times:?}", cell.id);
        }
        ensure!(hops.worked.p50.is_some_and(|ns| ns >= 2_000_000), "{}: {:?}", cell.id, hops.worked);
        let p50 = summary.response_p50_ns.context("no interval of p50")?;
        ensure!(summary.response_ns.p50.map(|ns| ns as f64) == Some(p50.median), "{}: {p50:?}", cell.id);
        ensure!(p50.low <= p50.median && p50.median <= p50.high, "{}: {p50:?}", cell.id);
        let recorded = result_set.raw(&cell.id, 0)?.hops.context("the recording has no hops")?;
        let worked = stats::decode(&recorded.worked)?;
        ensure!(worked.len() == cell.trials[0].response_ns.count && worked.min() >= 1_990_000, "{}", cell.id);
    }
    let plot = std::fs::read_to_string(out.join("plots/pipeline.64B.1x2.200.hops.svg"))?;
    ensure!(plot.contains("task queued") && plot.contains("workers: "), "{plot}");
    Ok(())
}
