//! Result sets that somebody has changed: each is refused with the file, the case and the
//! reason, and nothing is written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::program::{run, text};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let changes: [(&str, Change, &[&str]); 6] = [
        (
            "case_id_that_leads_elsewhere",
            |run| run["cells"][0]["id"] = json!("../../x"),
            &["\"../../x\"", "run.json"],
        ),
        ("case_twice", |run| run["cells"][1]["id"] = run["cells"][0]["id"].clone(), &["twice", "run.json"]),
        (
            "throughputs_times_ten",
            |run| {
                for trial in run["cells"].as_array_mut().into_iter().flatten().flat_map(trials_of) {
                    let ten = trial["throughput_per_s"].as_f64().unwrap_or(0.0) * 10.0;
                    trial["throughput_per_s"] = json!(ten);
                }
            },
            &["does not follow from its raw data", "throughput", "trial 1"],
        ),
        (
            "summary_times_ten",
            |run| {
                let median = &mut run["cells"][0]["summary"]["throughput_per_s"]["median"];
                *median = json!(median.as_f64().unwrap_or(1.0) * 10.0);
            },
            &["does not follow from its raw data", "its summary has a throughput"],
        ),
        (
            "percentile_made_smaller",
            |run| run["cells"][0]["trials"][0]["service_ns"]["p99"] = json!(1),
            &["does not follow from its raw data", "service times"],
        ),
        (
            "recordings_of_other_cases",
            |run| {
                let cells = run["cells"].as_array_mut().into_iter().flatten();
                let mut ids: Vec<Value> = cells.map(|cell| cell["id"].clone()).collect();
                ids.rotate_right(1);
                let cells = run["cells"].as_array_mut().into_iter().flatten();
                cells.zip(ids).for_each(|(cell, id)| cell["id"] = id);
            },
            &["does not follow from its raw data"],
        ),
    ];
    let changed = changes
        .into_iter()
        .map(|(name, change, words)| trial(&format!("checked::{name}"), move || refused(change, words)));
    let others = [
        trial("checked::unchanged_result_set_is_drawn", unchanged),
        trial("checked::pipe_in_place_of_a_file", pipe),
    ];
    changed.chain(others).collect()
}

type Change = fn(&mut Value);

fn trials_of(cell: &mut Value) -> Vec<&mut Value> {
    cell["trials"].as_array_mut().into_iter().flatten().collect()
}

/// A copy of a committed result set.
fn copy(dir: &Path) -> Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/2026-11-24-vm-standard");
    let to = dir.join("deep/results/copy");
    fs::create_dir_all(&to)?;
    for file in ["run.json", "raw.tar"] {
        fs::copy(from.join(file), to.join(file)).with_context(|| format!("{}", from.join(file).display()))?;
    }
    Ok(to)
}

/// Every file below a folder.
fn files(below: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut next) = (Vec::new(), vec![below.to_owned()]);
    while let Some(path) = next.pop() {
        match path.is_dir() {
            true => fs::read_dir(&path)?.try_for_each(|entry| entry.map(|entry| next.push(entry.path())))?,
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

fn refused(change: Change, words: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let copy = copy(dir.path())?;
    let mut run_json: Value = serde_json::from_str(&fs::read_to_string(copy.join("run.json"))?)?;
    change(&mut run_json);
    fs::write(copy.join("run.json"), serde_json::to_string(&run_json)?)?;
    let before = files(dir.path())?;
    let ran = run(&["report", text(&copy)?])?.expect(1)?;
    ran.told(words)?;
    ran.told(&[text(&copy)?])?;
    ensure!(files(dir.path())? == before, "it has written {:?}", files(dir.path())?);
    // Two of them are no comparison either.
    run(&["agree", text(&copy)?, text(&copy)?])?.expect(1)?.told(words)
}

fn unchanged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let copy = copy(dir.path())?;
    run(&["report", text(&copy)?])?.expect(0)?;
    ensure!(copy.join("report.html").is_file());
    Ok(())
}

/// Reading it would wait for ever.
fn pipe() -> Result<()> {
    for file in ["run.json", "raw.tar"] {
        let dir = tempfile::tempdir()?;
        let copy = copy(dir.path())?;
        fs::remove_file(copy.join(file))?;
        let made = std::process::Command::new("mkfifo").arg(copy.join(file)).status()?;
        ensure!(made.success());
        run(&["report", text(&copy)?])?.expect(1)?.told(&[file, "not a regular file"])?;
    }
    Ok(())
}
