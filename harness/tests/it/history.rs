//! `lab history` over result sets whose past is known.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::program::{run, text};
use crate::report::fixture;
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("history::change_is_found_with_what_else_changed", change),
        trial("history::too_few_result_sets_are_called_that", too_few),
        trial("history::hosts_are_kept_apart", hosts),
        trial("history::folder_without_result_sets", empty),
    ]
}

/// A small run by hand, with the past that a test gives it.
fn result_set(dir: &Path, day: usize, host: &str, revision: &str, throughput: f64) -> Result<()> {
    let mut run = by_hand()?;
    run["name"] = format!("run-{day:02}").into();
    run["created"] = format!("2026-01-{:02}T12:00:00+00:00", day + 1).into();
    run["host"]["name"] = host.into();
    run["versions"]["git"] = revision.into();
    let cells = run["cells"].as_array_mut().context("no cells")?;
    cells.retain(|cell| cell["lab"] == "oneway-tcp" && cell["load"]["kind"] == "max");
    for (at, trial) in cells[0]["trials"].as_array_mut().context("no trials")?.iter_mut().enumerate() {
        trial["throughput_per_s"] = (throughput * (1.0 + at as f64 * 0.001)).into();
    }
    let dir = dir.join(format!("{host}-{day:02}"));
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("run.json"), serde_json::to_string(&run)?)?;
    Ok(())
}

/// A run made by hand, once for all tests.
fn by_hand() -> Result<Value> {
    static RUN: OnceLock<Value> = OnceLock::new();
    if let Some(run) = RUN.get() {
        return Ok(run.clone());
    }
    let dir = tempfile::tempdir()?;
    fixture::full(dir.path());
    let run: Value = serde_json::from_str(&fs::read_to_string(dir.path().join("run.json"))?)?;
    Ok(RUN.get_or_init(|| run).clone())
}

/// Values of no pattern around a level, within 2 %.
fn noisy(level: f64, day: usize) -> f64 {
    level * (1.0 + ((day * 7 + 3) % 11) as f64 * 0.002)
}

fn change() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for day in 0..20 {
        let (level, revision) = if day < 12 { (1e6, "aaaa") } else { (8e5, "bbbb") };
        result_set(dir.path(), day, "here", revision, noisy(level, day))?;
    }
    fs::create_dir(dir.path().join("broken"))?;
    fs::write(dir.path().join("broken/run.json"), "{")?;
    let out = dir.path().join("out");
    let ran = run(&["history", text(dir.path())?, "--out", text(&out)?])?.expect(0)?;
    ran.told(&["not read: ", "broken"])?;
    for word in ["oneway-tcp", "run-12", "(worse)", "revision: aaaa → bbbb"] {
        ensure!(ran.out.contains(word), "`{word}` is not said:\n{}", ran.out);
    }
    let html = fs::read_to_string(out.join("history.html"))?;
    ensure!(html.contains("<svg ") && html.contains("aaaa → bbbb"), "{html}");
    ensure!(
        fs::read_to_string(out.join("README.md"))?.contains("(plots/oneway-tcp.64B.1x1.max-throughput.svg)")
    );
    ensure!(out.join("plots/oneway-tcp.64B.1x1.max-throughput.svg").exists());
    let ran = run(&["history", text(dir.path())?, "--json"])?.expect(0)?;
    let told: Value = serde_json::from_str(&ran.out)?;
    let changes = told["series"][0]["changes"].as_array().context("no changes")?;
    ensure!(changes.len() == 1 && changes[0]["at"] == 12 && changes[0]["worse"] == true, "{changes:?}");
    let ratio = changes[0]["ratio"].as_f64().context("no ratio")?;
    ensure!((0.78..0.82).contains(&ratio), "{ratio}");
    Ok(())
}

fn too_few() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for day in 0..9 {
        result_set(dir.path(), day, "here", "aaaa", if day < 5 { 1e6 } else { 5e5 })?;
    }
    let out = dir.path().join("out");
    let ran = run(&["history", text(dir.path())?, "--out", text(&out)?])?.expect(0)?;
    ensure!(
        ran.out.contains("too few result sets") && !ran.out.contains("no change was found"),
        "{}",
        ran.out
    );
    Ok(())
}

fn hosts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    result_set(dir.path(), 0, "alpha", "aaaa", 1e6)?;
    result_set(dir.path(), 1, "beta", "aaaa", 1e6)?;
    let ask = |more: &[&str]| run(&[&["history", text(dir.path())?, "--json"], more].concat());
    ask(&[])?.expect(2)?.told(&["--host", "alpha", "beta"])?;
    ask(&["--host", "gamma"])?.expect(2)?.told(&["`gamma`", "alpha"])?;
    let told: Value = serde_json::from_str(&ask(&["--host", "beta"])?.expect(0)?.out)?;
    ensure!(
        told["runs"] == 1 && told["host"].as_str().is_some_and(|host| host.starts_with("beta, ")),
        "{told}"
    );
    Ok(())
}

fn empty() -> Result<()> {
    let dir = tempfile::tempdir()?;
    run(&["history", text(dir.path())?])?.expect(2)?.told(&["no result sets", "`lab bench`"])?;
    run(&["history", "/no/such/folder"])?.expect(2)?.told(&["/no/such/folder"])
}
