//! `./run` and the justfile: the same recipes, and for each lab the feature that builds it in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use labs::catalog;
use libtest_mimic::Trial;

use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("recipes::each_lab_is_built_with_its_feature", features),
        trial("recipes::just_has_what_run_has", same_recipes),
        trial("recipes::unknown_one_is_a_usage_error", unknown),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

fn run(args: &[&str]) -> Result<Output> {
    Command::new(root().join("run")).args(args).output().context("cannot start ./run")
}

fn said(args: &[&str]) -> Result<String> {
    let output = run(args)?;
    ensure!(output.status.success(), "./run {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The words that choose labs, and the features of the build that can run them.
const WORDS: [(&[&str], &str); 7] = [
    (&["oneway-tcp"], ""),
    (&["queue-tcp"], "outbox"),
    (&["queue-rabbitmq-quorum"], "rabbitmq"),
    (&["oneway-redis", "pubsub-jetstream", "queue-redis-stream"], "nats redis"),
    (&["pubsub"], "full"),
    (&["*-redis"], "full"),
    (&["oneway-tcp", "queue?tcp"], "full"),
];

fn features() -> Result<()> {
    for entry in catalog::entries() {
        let chosen = said(&["features", &entry.name])?;
        let needed = catalog::feature(entry.pattern, entry.transport).unwrap_or_default();
        ensure!(chosen.trim() == needed, "{}: ./run builds `{}`, not `{needed}`", entry.name, chosen.trim());
    }
    for (words, expected) in WORDS {
        let chosen = said(&[&["features"], words].concat())?;
        ensure!(chosen.trim() == expected, "{words:?}: `{}`, not `{expected}`", chosen.trim());
    }
    Ok(())
}

/// The recipes that the help of `./run` names.
fn listed() -> Result<BTreeSet<String>> {
    let help = said(&[])?;
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = lines.flat_map(|line| {
        let names = line.split("   ").next().unwrap_or(line);
        names.split(", ").filter_map(|name| name.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    });
    Ok(names.collect())
}

fn same_recipes() -> Result<()> {
    let justfile = fs::read_to_string(root().join("justfile"))?;
    let recipe = |line: &str| line.strip_suffix(" *ARGS:").map(str::to_owned);
    let just: BTreeSet<String> = justfile.lines().filter_map(recipe).collect();
    let run = listed()?;
    ensure!(run.len() > 20 && just == run, "only in one: {:?}", just.symmetric_difference(&run));
    let script = fs::read_to_string(root().join("run"))?;
    for name in &run {
        ensure!(
            justfile.contains(&format!("@\"{{{{ run }}}}\" {name} \"$@\"")),
            "just {name} does not call it"
        );
        let cases = script.lines().filter_map(|line| line.split_once(") ").or(line.split_once(')')));
        let known = cases.flat_map(|(names, _)| names.split(" | ")).any(|case| case == name);
        ensure!(known, "./run names the recipe {name} and does not have it");
    }
    Ok(())
}

fn unknown() -> Result<()> {
    let output = run(&["no-such-recipe"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2) && text.contains("`no-such-recipe`"), "{output:?}");
    Ok(())
}
