//! `lab selftest`: checks the harness against a simulated transport with known faults.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Table, TableStyle};
use serde_json::json;

use crate::command::{Usage, interruptible, or_unread};
use crate::process::guard;
use crate::validate::selftest::{self, Check, Figure, HAIR_NS, SHARE, Value, Verdict};
use crate::{hint, plan, roles, trial, units};

/// Times a check is tried, where it was the machine that spoiled it.
const ATTEMPTS: usize = 3;

#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// Names of checks, or globs (quoted: 'clock-*'); default: all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List the checks, and run none
    #[arg(long)]
    list: bool,
    /// Seed that chooses the faulty messages; default: random
    #[arg(long, value_name = "N", value_parser = units::whole)]
    seed: Option<u64>,
    /// Print one JSON object with all figures
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &SelftestArgs) -> Result<ExitCode> {
    let checks = choose(&args.names)?;
    if args.list {
        return list(&checks, args.json);
    }
    let seed = args.seed.unwrap_or_else(|| u64::from(trial::run_number()));
    guard::enter()?;
    let Some(verdicts) = roles::runtime(0)?.block_on(interruptible(carry_out(&checks, seed))) else {
        return Ok(ExitCode::from(130));
    };
    let verdicts = verdicts?;
    let missed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.found).collect();
    or_unread(if args.json {
        let told = json!({ "seed": seed, "found": missed.is_empty(), "checks": verdicts });
        outln!("{}", serde_json::to_string_pretty(&told)?).map_err(Into::into)
    } else {
        print(&verdicts, seed)
    })?;
    for verdict in &missed {
        errln!("lab: {}", why(verdict, seed));
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The checks of these names; a usage error with the nearest where there is none.
fn choose(names: &[String]) -> Result<Vec<Check>> {
    let all = selftest::all();
    let matches = |name: &str, check: &Check| labs::topic::glob(name, check.name);
    if let Some(name) = names.iter().find(|name| !all.iter().any(|check| matches(name, check))) {
        let near = plan::nearest(name, all.iter().map(|check| check.name));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let list = hint::command(&["selftest", "--list"]);
        bail!(Usage(format!("there is no check `{name}`; {near}`{list}` shows all")));
    }
    let wanted = |check: &Check| names.is_empty() || names.iter().any(|name| matches(name, check));
    Ok(all.into_iter().filter(wanted).collect())
}

fn list(checks: &[Check], as_json: bool) -> Result<ExitCode> {
    if as_json {
        let told: Vec<_> = checks
            .iter()
            .map(|check| json!({ "name": check.name, "pattern": check.pattern.as_str(), "about": check.about }))
            .collect();
        outln!("{}", serde_json::to_string_pretty(&told)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(["CHECK", "PATTERN", "WHAT THE TRANSPORT DOES"]);
    for check in checks {
        table.add_row([check.name, check.pattern.as_str(), check.about]);
    }
    outln!("{}", table.trim_fmt())?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(checks: &[Check], seed: u64) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        let verdict = selftest::run(check, seed, ATTEMPTS).await?;
        let again = match verdict.attempts {
            1 => String::new(),
            times => format!(" (attempt {times}: the machine had paused before)"),
        };
        let found = if verdict.found { "found" } else { "NOT FOUND" };
        errln!("{:>3}/{} {}: {found}{again}", index + 1, checks.len(), check.name);
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

fn print(verdicts: &[Verdict], seed: u64) -> Result<()> {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header(["CHECK", "WHAT THE TRANSPORT DID", "FIGURE", "EXPECTED", "FOUND", "VERDICT"]);
    for verdict in verdicts {
        let shown = verdict
            .figures
            .iter()
            .filter(|figure| !figure.good || verdict.headline.contains(&figure.name.as_str()));
        let mut row = (verdict.name, did(verdict));
        for figure in shown {
            let word = if figure.good { "found" } else { "NOT FOUND" };
            let (name, about) = std::mem::take(&mut row);
            let [truth, found] = [&figure.truth, &figure.found].map(|value| shown_as(value, figure.unit));
            table.add_row([name, &about, &figure.name, &truth, &found, word]);
        }
        if let Some(error) = &verdict.error {
            table.add_row([verdict.name, &did(verdict), error, "-", "-", "NOT FOUND"]);
        }
    }
    outln!("{}\n", table.trim_fmt())?;
    let found = verdicts.iter().filter(|verdict| verdict.found).count();
    let figures: Vec<&Figure> = verdicts.iter().flat_map(|verdict| &verdict.figures).collect();
    let good = figures.iter().filter(|figure| figure.good).count();
    outln!(
        "{found} of {} checks passed; {good} of {} figures were as expected.",
        verdicts.len(),
        figures.len()
    )?;
    outln!(
        "Counts must match exactly, times within {} % and {} µs. Seed: {seed}.",
        SHARE * 100.0,
        HAIR_NS / 1000
    )?;
    Ok(())
}

/// The faults of a check, and the number of messages affected.
fn did(verdict: &Verdict) -> String {
    match verdict.harmed.values().sum::<u64>() {
        0 => verdict.about.to_owned(),
        harmed => format!("{} ({harmed} messages affected)", verdict.about),
    }
}

fn shown_as(value: &Value, unit: &str) -> String {
    match value {
        Value::None => "none".to_owned(),
        Value::Text(text) => (*text).to_owned(),
        Value::Whole(ns) if unit == "ns" && *ns >= 1_000_000 => format!("{:.3} ms", *ns as f64 / 1e6),
        Value::Whole(ns) if unit == "ns" => format!("{:.1} µs", *ns as f64 / 1e3),
        Value::Whole(count) => format!("{count}"),
        Value::Number(number) => format!("{number:.0} {unit}"),
    }
}

/// The figures that differ, and what to do about it.
fn why(verdict: &Verdict, seed: u64) -> String {
    let name = verdict.name;
    if let Some(error) = &verdict.error {
        return format!("{name}: {error}; this is a bug of the self-test, please report it");
    }
    let missed: Vec<String> = verdict
        .figures
        .iter()
        .filter(|figure| !figure.good)
        .map(|figure| {
            let [truth, found] = [&figure.truth, &figure.found].map(|value| shown_as(value, figure.unit));
            format!("{}: {truth} was expected, the harness found {found}", figure.name)
        })
        .collect();
    let next = match verdict.figures.iter().all(|figure| figure.good || figure.is_timed()) {
        true => format!(
            "Only times are wrong (attempt {}), and an idle thread overslept by {:.1} ms during it. Try \
             again on a quieter machine; if the error stays, do not trust this build",
            verdict.attempts,
            verdict.held_up_ns as f64 / 1e6
        ),
        false => format!(
            "A busy machine cannot cause this: do not trust this build (`{}` shows every figure)",
            hint::command(&["selftest", name, "--seed", &seed.to_string(), "--json"])
        ),
    };
    format!("{name} failed: {}. {next}", missed.join("; "))
}
