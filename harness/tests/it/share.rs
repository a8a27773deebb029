//! `lab export`, `lab diff` and `lab site`, as they are typed.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::program::run;
use crate::report::fixture;
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("share::an_export_has_every_case_in_each_format", exports),
        trial("share::what_cannot_be_exported_is_named_and_the_rest_is_not_lost", damaged),
        trial("share::two_result_sets_are_compared_and_one_is_not", compares),
        trial("share::a_site_is_written_as_a_whole_or_not_at_all", site),
        trial("share::every_link_of_a_site_leads_somewhere", links),
    ]
}

fn name(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary folder's name is not text")
}

fn exports() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let one = dir.path().join("results/one");
    fixture::small(&one, |run| run.name = "one".to_owned());
    fixture::small(&dir.path().join("results/other/two"), |run| run.name = "two".to_owned());
    let results = dir.path().join("results");
    let results = name(&results)?;

    let csv = run(&["export", results])?.out;
    let lines: Vec<&str> = csv.lines().collect();
    ensure!(lines.len() == 21 && lines[0].starts_with("result_set,created,host,"), "{csv}");
    ensure!(lines.iter().filter(|line| line.starts_with("two,")).count() == 10, "{csv}");
    let json = run(&["export", results, "--format", "json", "--lab", "oneway-*"])?;
    let rows: Vec<Value> = serde_json::from_str(&json.out)?;
    ensure!(rows.len() == 12 && rows.iter().all(|row| row["pattern"] == "oneway"), "{rows:?}");
    ensure!(rows[0]["throughput_per_s"].as_f64() == Some(9_191_000.0), "{}", rows[0]);

    // A file, as a whole; the report's own table is nothing else.
    let file = dir.path().join("cases.md");
    let made = run(&["export", name(&one)?, "--format", "md", "--out", name(&file)?])?;
    ensure!(made.code == 0 && made.out.is_empty(), "{}", made.err);
    ensure!(fs::read_to_string(&file)?.lines().count() == 12);
    Ok(())
}

fn damaged() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fixture::small(&dir.path().join("good"), |_| {});
    fixture::small(&dir.path().join("false"), |run| {
        let summary = run.cells[0].summary.as_mut().expect("a summary");
        summary.throughput_per_s.median *= 2.0;
    });
    let made = run(&["export", name(dir.path())?])?;
    ensure!(made.code == 1 && made.out.lines().count() == 11);
    ensure!(made.err.contains("false"), "{}", made.err);
    // What fits nothing, and a file that is not to be replaced.
    let none = run(&["export", name(&dir.path().join("good"))?, "--lab", "zzz*"])?;
    ensure!(none.code == 2 && none.out.is_empty() && none.err.contains("zzz*"), "{}", none.err);
    ensure!(none.err.contains("oneway-tcp"), "{}", none.err);
    let good = dir.path().join("good");
    let over = run(&["export", name(&good)?, "--out", name(&good.join("run.json"))?])?;
    ensure!(
        over.code == 1
            && over.err.contains("run.json")
            && fs::read_to_string(good.join("run.json"))?.starts_with('{')
    );
    let broken = dir.path().join("false");
    let kept = dir.path().join("cases.csv");
    fs::write(&kept, "kept")?;
    let nothing = run(&["export", name(&broken)?, "--out", name(&kept)?])?;
    ensure!(nothing.code == 1 && fs::read_to_string(&kept)? == "kept", "{}", nothing.err);
    // Named twice, and once more with the folder above it.
    let twice = run(&["export", name(&good)?, name(&good)?, name(dir.path())?])?;
    ensure!(twice.out.lines().count() == 11, "{}", twice.out);
    for (wrong, said) in [("nowhere", "there is no folder"), ("empty", "nothing to export")] {
        let folder = dir.path().join(wrong);
        if wrong == "empty" {
            fs::create_dir(&folder)?;
        }
        let made = run(&["export", name(&folder)?])?;
        let told = made.err;
        ensure!(made.code == 2 && told.contains(said) && told.contains(wrong), "{told}");
    }
    Ok(())
}

fn compares() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    fixture::small(&a, |run| run.name = "a".to_owned());
    fixture::small(&b, |run| {
        run.name = "b".to_owned();
        run.host.name = "laptop".to_owned();
    });
    let made = run(&["diff", name(&a)?, name(&b)?])?;
    let told = made.out;
    ensure!(made.code == 0, "{}", made.err);
    for part in ["differs: machine: bench-1", "and laptop", "B is better in 0, worse in 0, cannot tell in"] {
        ensure!(told.contains(part), "{part} is missing: {told}");
    }
    // The table; sentences are wrapped by the terminal.
    let is_figure = |line: &&str| line.starts_with("  ");
    ensure!(told.lines().filter(is_figure).all(|line| line.chars().count() <= 80), "{told}");
    let json: Value = serde_json::from_str(&run(&["diff", "--json", name(&a)?, name(&b)?])?.out)?;
    let compared = json["compared"].as_array().context("no figures")?;
    ensure!(compared.len() > 5 && compared.iter().all(|one| one["verdict"] == "cannot-tell"), "{json}");
    let markdown = run(&["diff", "--markdown", name(&a)?, name(&b)?])?.out;
    ensure!(markdown.starts_with("# a and b\n"), "{markdown}");

    let same = run(&["diff", name(&a)?, name(&a)?])?;
    ensure!(same.code == 2 && same.err.contains("given twice"));
    let missing = run(&["diff", name(&a)?, "nowhere"])?;
    ensure!(missing.code == 1 && missing.err.contains("nowhere"));
    Ok(())
}

fn site() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (results, out) = (dir.path().join("results"), dir.path().join("site"));
    fixture::small(&results.join("one"), |_| {});
    let made = run(&["site", name(&results)?, "--out", name(&out)?])?;
    ensure!(made.code == 0, "{}", made.err);
    ensure!(made.out.trim() == name(&out.join("index.html"))?, "{}", made.out);
    ensure!(out.join("sets/one/report.html").is_file() && out.join("labs/oneway-tcp.html").is_file());

    // A folder of the user's is not touched, and what cannot be read is named.
    let own = dir.path().join("own");
    fs::create_dir(&own)?;
    fs::write(own.join("notes.txt"), "mine")?;
    let refused = run(&["site", name(&results)?, "--out", name(&own)?])?;
    ensure!(refused.code == 1 && refused.err.contains("own"));
    ensure!(fs::read_to_string(own.join("notes.txt"))? == "mine" && fs::read_dir(&own)?.count() == 1);
    fs::create_dir(results.join("broken"))?;
    fs::write(results.join("broken/run.json"), "{")?;
    let partly = run(&["site", name(&results)?, "--out", name(&out)?])?;
    ensure!(partly.code == 1 && partly.err.contains("broken"));
    ensure!(fs::read_to_string(out.join("index.html"))?.contains("broken"), "it is not named in the page");
    Ok(())
}

/// Of every page, also of one about faults, whose original leads into the documentation beside it.
fn links() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (results, out) = (dir.path().join("results"), dir.path().join("site"));
    fixture::small(&results.join("one"), |_| {});
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    for (set, file) in
        [("2026-11-28-vm-faults", "faults.json"), ("2026-11-28-vm-scenarios", "scenarios.json")]
    {
        fs::create_dir_all(results.join(set))?;
        fs::copy(published.join(set).join(file), results.join(set).join(file)).context(set)?;
    }
    let made = run(&["site", name(&results)?, "--out", name(&out)?])?;
    ensure!(made.code == 0, "{}", made.err);
    let (mut pages, mut followed, mut folders) = (0, 0, vec![out]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "html") {
                continue;
            }
            pages += 1;
            let text = fs::read_to_string(&path)?;
            for link in text.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { path.clone() } else { folder.join(file) };
                ensure!(target.is_file(), "{link} in {} leads nowhere", path.display());
                let is_there =
                    anchor.is_empty() || fs::read_to_string(&target)?.contains(&format!("id=\"{anchor}\""));
                ensure!(is_there, "{link} in {} leads to no part of its page", path.display());
                followed += 1;
            }
        }
    }
    ensure!(pages > 5 && followed > 300, "{pages} pages with {followed} links");
    Ok(())
}
