//! `lab agree` over result sets whose differences are known, and what `lab bench`
//! makes of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::results::{Raw, ResultSet};
use harness::stats;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::needs::proof;
use crate::program::{bench_in, read, run, run_in, text};
use crate::report::fixture;
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        proof(trial("agree::known_differences_are_counted_and_named", known)),
        trial("agree::unlike_result_sets_are_refused", refused),
        proof(trial("agree::saved_widening_is_applied_and_told", applied)),
        trial("agree::too_few_pairs_are_not_saved", too_few),
    ]
}

/// A result set made by hand, small enough for a test: the labs whose names begin like
/// this, with what a test changes in it.
fn result_set(dir: &Path, name: &str, labs: &str, change: impl Fn(&mut Value)) -> Result<PathBuf> {
    let from = dir.join("all-transports");
    if !from.exists() {
        fixture::full(&from);
    }
    let mut run: Value = serde_json::from_str(&fs::read_to_string(from.join("run.json"))?)?;
    run["name"] = name.into();
    run["host"] = serde_json::to_value(harness::measure::host::host())?;
    let cells = run["cells"].as_array_mut().context("no cells")?;
    cells.retain(|cell| cell["lab"].as_str().is_some_and(|lab| lab.starts_with(labs)));
    let out = dir.join(name);
    fs::create_dir_all(out.join("raw"))?;
    for cell in cells {
        let id = cell["id"].as_str().context("no id")?;
        for trial in 0..cell["trials"].as_array().context("no trials")?.len() {
            // A failed trial has none.
            let file = format!("raw/{id}.{trial}.json");
            if from.join(&file).exists() {
                fs::copy(from.join(&file), out.join(&file)).with_context(|| file)?;
            }
        }
    }
    change(&mut run);
    fs::write(out.join("run.json"), serde_json::to_string(&run)?)?;
    record(&out)?;
    Ok(out)
}

/// Makes recordings and summaries follow from the throughputs: others would be refused.
fn record(out: &Path) -> Result<()> {
    let (result_set, mut run) = ResultSet::open(out)?;
    for cell in &mut run.cells {
        let mut raws = Vec::new();
        for trial in &cell.trials {
            let mut raw = Raw::default();
            if trial.failed.is_none() {
                raw = result_set.raw(&cell.id, trial.index)?;
                let received = (trial.throughput_per_s * trial.seconds) as u64;
                let from = (raw.measure_from_ns / raw.interval_ns) as usize;
                let measured = raw.series.get_mut(from..).context("nothing was measured")?;
                let count = measured.len() as u64;
                measured.iter_mut().for_each(|interval| interval.received = received / count);
                measured.last_mut().context("nothing was measured")?.received += received % count;
                result_set.save_raw(&cell.id, trial.index, &raw)?;
            }
            raws.push(raw);
        }
        cell.summary = stats::summarize(cell, &raws, run.seed)?;
    }
    result_set.save(&run)
}

/// Every trial of one lab flat out is so many times as fast.
fn faster(run: &mut Value, lab: &str, factor: f64) {
    for cell in run["cells"].as_array_mut().into_iter().flatten() {
        if cell["lab"] == lab && cell["load"]["kind"] == "max" {
            for trial in cell["trials"].as_array_mut().into_iter().flatten() {
                trial["throughput_per_s"] =
                    (trial["throughput_per_s"].as_f64().unwrap_or_default() * factor).into();
            }
        }
    }
}

fn known() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let one = result_set(dir.path(), "one", "p", |_| {})?;
    // So much faster that no interval of five trials reaches it.
    let two = result_set(dir.path(), "two", "p", |run| faster(run, "pubsub-tcp", 5.0))?;
    let told: Value =
        serde_json::from_str(&run(&["agree", text(&one)?, text(&two)?, "--json"])?.expect(0)?.out)?;
    let (hits, of) = (told["agreed"]["hits"].as_u64(), told["agreed"]["of"].as_u64());
    let (hits, of) = (hits.context("no hits")?, of.context("no pairs")?);
    ensure!(of > 19 && hits == of - 1, "{told:#}");
    let apart = &told["apart"][0];
    ensure!(
        apart["cell"].as_str().is_some_and(|cell| cell.starts_with("pubsub-tcp.") && cell.ends_with(".max"))
            && apart["figure"] == "throughput"
            && apart["ratio"].as_f64().is_some_and(|ratio| (ratio - 5.0).abs() < 1e-6),
        "{apart:#}"
    );
    // Of so few pairs none may stay apart: the one that does says how much it takes.
    let factor = told["widening"]["factor"].as_f64().context("no factor")?;
    let needed = apart["factor"].as_f64().context("no factor")?;
    ensure!(of < 39 && needed > 1.0 && (0.0..0.011).contains(&(factor - needed)), "{factor} for {needed}");
    ensure!(told["widened"]["hits"].as_u64() == Some(of), "{}", told["widened"]);
    let [again, once_more] = ["again", "once-more"].map(|name| result_set(dir.path(), name, "p", |_| {}));
    let (again, once_more) = (again?, once_more?);
    let args = ["agree", text(&one)?, text(&again)?, text(&once_more)?, "--json"];
    let same: Value = serde_json::from_str(&run(&args)?.expect(0)?.out)?;
    ensure!(same["agreed"]["of"].as_u64() == Some(3 * of), "three result sets are three pairs: {same:#}");
    ensure!(same["apart"].as_array().is_some_and(Vec::is_empty), "{same:#}");
    let ran = run(&["agree", text(&one)?, text(&two)?])?.expect(0)?;
    for word in ["pubsub-tcp.", "throughput at max", "5.00", "widened by"] {
        ensure!(ran.out.contains(word), "`{word}` is not said:\n{}", ran.out);
    }
    Ok(())
}

fn refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let one = result_set(dir.path(), "one", "oneway-tcp", |_| {})?;
    let refuses = |name: &str, change: &dyn Fn(&mut Value), words: &[&str]| -> Result<()> {
        let other = result_set(dir.path(), name, "oneway-tcp", change)?;
        run(&["agree", text(&one)?, text(&other)?])?.expect(2)?.told(words)
    };
    refuses(
        "elsewhere",
        &|run| run["host"]["name"] = "elsewhere".into(),
        &["`elsewhere", "result sets of the same machine"],
    )?;
    refuses("longer", &|run| run["plan"]["seconds"] = 9.0.into(), &["`seconds` is", "9.0"])?;
    refuses(
        "weaker",
        &|run| run["cells"][0]["guarantee"] = "durable".into(),
        &["oneway-tcp.", "at-most-once", "durable"],
    )?;
    // Neither the plan's name nor which labs were asked for changes a cell.
    let named = result_set(dir.path(), "named", "oneway-tcp", |run| run["plan"]["name"] = "mine".into())?;
    run(&["agree", text(&one)?, text(&named)?])?.expect(0)?;
    run(&["agree", text(&one)?])?.expect(2)?;
    run(&["agree", text(&one)?, text(&one)?])?.expect(2)?.told(&["one was given twice"])?;
    let strange = result_set(dir.path(), "strange", "pubsub-tcp", |_| {})?;
    run(&["agree", text(&one)?, text(&strange)?])?.expect(1)?.told(&["no figure in common"])?;
    fs::remove_dir_all(named.join("raw"))?;
    run(&["agree", text(&one)?, text(&named)?])?.expect(1)?.told(&["raw/", "copy it back"])
}

fn applied() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let one = result_set(dir.path(), "one", "p", |_| {})?;
    let two = result_set(dir.path(), "two", "p", |run| {
        for lab in ["pubsub-tcp", "pubsub-redis", "pubsub-zeromq", "pubsub-inproc", "pubsub-rabbitmq"] {
            faster(run, lab, 3.0);
        }
    })?;
    let bench = |out: &str| -> Result<PathBuf> {
        let words = ["oneway-inproc", "--load", "1000", "--trials", "2", "--seconds", "0.2"];
        bench_in(dir.path(), &words, Path::new(out))?.expect(0)?;
        Ok(dir.path().join(out))
    };
    let plain = read(&bench("before")?)?;
    ensure!(plain.widening.is_none(), "{:?}", plain.widening);
    run_in(dir.path(), &["agree", text(&one)?, text(&two)?, "--save"])?
        .expect(0)?
        .told(&["results/agreement-"])?;
    let out = bench("after")?;
    let run = read(&out)?;
    let widening = run.widening.as_ref().context("nothing was widened")?;
    ensure!(widening.factor > 1.0 && widening.from == ["one", "two"], "{widening:?}");
    let summary = run.cells[0].summary.as_ref().context("no summary")?;
    let p50 = summary.response_p50_ns.context("no interval of p50")?;
    ensure!(summary.response_ns.p50.map(|ns| ns as f64) == Some(p50.median), "{p50:?}");
    // However near the two trials came to each other, the half of an interval is not less.
    let least = (1.0 + widening.least).powf(widening.factor) * 0.999_999;
    ensure!(p50.high / p50.median >= least && p50.median / p50.low >= least, "{p50:?}, {least}");
    for page in ["report.html", "README.md"] {
        let text = fs::read_to_string(out.join(page))?;
        ensure!(text.contains("wider than the trials of this run alone give"), "{page} does not say so");
    }
    // What is saved for another machine of the same name does not apply here.
    let file = fs::read_dir(dir.path().join("results"))?.next().context("nothing was saved")??.path();
    let mut saved: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    saved["host"] = "of the same name, 2 × another CPU".into();
    fs::write(&file, saved.to_string())?;
    ensure!(read(&bench("moved")?)?.widening.is_none(), "another machine's widening was applied");
    fs::write(&file, "{")?;
    let args = ["bench", "oneway-inproc", "--load", "1000", "--out", "never"];
    run_in(dir.path(), &args)?.expect(1)?.told(&["agreement-", "is damaged", "--save"])
}

fn too_few() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let one = result_set(dir.path(), "one", "oneway-tcp", |_| {})?;
    let two = result_set(dir.path(), "two", "oneway-tcp", |_| {})?;
    let ran = run_in(dir.path(), &["agree", text(&one)?, text(&two)?, "--save"])?.expect(1)?;
    ran.told(&["only 3 pairs", "needs 19"])?;
    ensure!(!dir.path().join("results").exists(), "it was saved all the same");
    Ok(())
}
