pub(crate) mod build;
pub(crate) mod fixture;
mod text;

use std::fs;
use std::path::Path;

use super::*;
use crate::results::{Interval, Raw, Skipped};
use fixture::{everything, full, small};

/// Draws a result set in a folder of its own, and gives the HTML and the README.
fn drawn(make: impl Fn(&Path)) -> (String, String) {
    let dir = tempfile::tempdir().expect("a folder");
    make(dir.path());
    let written = draw(dir.path()).expect("it draws");
    let read = |path: &Path| fs::read_to_string(path).expect("it was written");
    (read(&written.html), read(&written.readme))
}

fn failure(make: impl Fn(&Path)) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    make(dir.path());
    format!("{:#}", draw(dir.path()).expect_err("it is damaged"))
}

#[test]
fn the_readme_of_a_small_run() {
    let (_, readme) = drawn(|dir| small(dir, |_| {}));
    insta::assert_snapshot!(readme);
}

/// A run as large as the real ones; left in `target/` to be looked at.
#[test]
fn a_full_run_draws_every_plot() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/report-example");
    let _ = fs::remove_dir_all(&dir);
    full(&dir);
    let written = draw(&dir).expect("it draws");
    let kinds = |kind: &str| {
        written.plots.iter().filter(|path| path.to_string_lossy().contains(&format!(".{kind}.svg"))).count()
    };
    assert_eq!((kinds("throughput"), kinds("latency"), kinds("timeline"), kinds("cost")), (5, 5, 5, 5));
    assert_eq!(kinds("hops"), 1, "pipelines alone have hops");
    assert!(written.plots[0].ends_with("plots/overview.svg"));
    assert!(written.plots.iter().all(|path| path.exists()));
    let html = fs::read_to_string(&written.html).expect("it was written");
    for outside in ["src=", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "the report would load something: {outside}");
    }
}

/// Searches, sweeps, backlogs and axes: each has its pictures and its tables; left in `target/` too.
#[test]
fn a_run_of_every_kind_of_load_draws_all_of_it() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/report-everything");
    let _ = fs::remove_dir_all(&dir);
    everything(&dir);
    let written = draw(&dir).expect("it draws");
    let files: Vec<String> = written.plots.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let count = |part: &str| files.iter().filter(|file| file.contains(part)).count();
    assert_eq!((count("/capacity.svg"), count("/sweep.svg"), count(".sweep.")), (1, 1, 4));
    assert_eq!(
        (count(".backlog.svg"), count("pipeline.by-receivers"), count("pipeline.by-batch")),
        (1, 2, 2)
    );
    let (html, readme) = (fs::read_to_string(&written.html), fs::read_to_string(&written.readme));
    let (html, readme) = (html.expect("it was written"), readme.expect("it was written"));
    for text in [&html, &readme] {
        for part in [
            "96\u{202f}000",
            "≥\u{202f}410\u{202f}000",
            "70\u{202f}%",
            "20\u{202f}000",
            "bursts of 100",
            "ramp",
        ] {
            assert!(text.contains(part), "{part} is missing");
        }
    }
    assert!(html.contains("p99 of response is 41.2 ms") && html.contains("the backlog grew by 212 messages"));
    // What belongs to a search or a sweep is no row of the answer.
    let answer = html.split("id=\"limits\"").next().unwrap_or_default();
    assert!(!answer.contains("Poisson") && !answer.contains("24\u{202f}000/s"));
}

#[test]
fn the_same_result_set_gives_the_same_files() {
    let make = |dir: &Path| small(dir, |_| {});
    assert_eq!(drawn(make), drawn(make));
}

#[test]
fn a_damaged_result_set_names_the_file_and_the_remedy() {
    let check = |make: &dyn Fn(&Path), expected: &[&str]| {
        let error = failure(make);
        for part in expected {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    };
    check(&|_| {}, &["run.json", "not a result set"]);
    check(
        &|dir| {
            small(dir, |_| {});
            let text = fs::read_to_string(dir.join("run.json")).expect("it was written");
            fs::write(dir.join("run.json"), &text[..text.len() / 2]).expect("it is writable");
        },
        &["run.json", "damaged", "again"],
    );
    check(&|dir| small(dir, |run| run.schema = 99), &["run.json", "schema 99", "version of `lab`"]);
    check(
        &|dir| {
            small(dir, |_| {});
            fs::remove_file(dir.join("raw/oneway-tcp.64B.1x1.1000.1.json")).expect("it is there");
        },
        &["raw/oneway-tcp.64B.1x1.1000.1.json", "copy it back", "bench --resume --out"],
    );
    check(
        &|dir| {
            small(dir, |_| {});
            let raw = dir.join("raw/oneway-tcp.64B.1x1.1000.0.json");
            fs::write(raw, r#"{"response":"?","service":"","lag":"","confirm":"","interval_ns":1,"measure_from_ns":0,"series":[]}"#)
                .expect("it is writable");
        },
        &["raw/oneway-tcp.64B.1x1.1000.0.json", "damaged"],
    );
}

#[test]
fn hostile_text_is_shown_and_never_run() {
    let evil = "<script>alert(1)</script>";
    let (html, readme) = drawn(|dir| {
        small(dir, |run| {
            run.name = evil.to_owned();
            run.host.name = evil.to_owned();
            run.plan.knobs.insert(evil.to_owned(), 1);
            run.skipped.push(Skipped { lab: evil.to_owned(), reason: format!("\"><img src=x> | {evil}") });
            run.cells[0].lab = evil.to_owned();
            run.cells[0].guarantee = format!("<b>{evil}");
            run.cells[0].source = format!("\" onmouseover=\"{evil}");
            run.cells[0].trials[0].failed = Some(evil.to_owned());
        });
    });
    assert_eq!(html.matches("<script>").count(), 1, "only the report's own");
    assert!(!html.contains("<img") && !html.contains("<b>") && !html.contains("\" onmouseover"));
    assert!(html.contains("&lt;script&gt;"));
    assert!(!readme.split("```").next().unwrap_or_default().contains("<script>"));
}

/// Every speed and every latency stands with what was lost, duplicated, reordered, corrupt: in a
/// column where it is not 0 everywhere, and else in the sentence above the table.
#[test]
fn no_figure_stands_without_its_account() {
    let (html, readme) = drawn(|dir| small(dir, |_| {}));
    let heads: Vec<&str> = readme.lines().filter(|line| line.starts_with("| lab |")).collect();
    assert!(heads[0].contains("| max messages/s | CPU per message | lost | response p50 | p99 | lost |"));
    assert!(heads[2].contains("| max messages/s | CPU per message | response p50 | p99 | overload |"));
    let mut rows = 0;
    for (start, bars) in [("| oneway-", 9), ("| queue-", 7)] {
        for line in readme.lines().filter(|line| line.starts_with(start)) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), bars, "a cell is missing: {line}");
            rows += 1;
        }
    }
    assert_eq!(rows, 5);
    for text in [&html, &readme] {
        assert!(text.contains("Nothing was duplicated, reordered or corrupt. Lost 2 (oneway-tcp)."));
        assert!(text.contains("Nothing was lost, duplicated, reordered or corrupt."));
    }
    assert!(
        readme.contains("1 (0.1\u{202f}%)") && html.contains("<span class=\"share\">0.1\u{202f}%"),
        "a loss is shown with its share"
    );
}

/// Several sizes and rates: more rows and columns, and every row has all of them.
#[test]
fn tables_stay_whole_with_several_settings() {
    let (html, readme) = drawn(|dir| {
        small(dir, |run| {
            let mut more = run.cells.clone();
            for cell in &mut more {
                match cell.load.rate {
                    Some(_) => cell.load.rate = Some(5_000.0),
                    None => cell.size = 1_024,
                }
                // Each case has a name and recordings of its own.
                let id = cell.id.clone();
                cell.id.push_str("-more");
                for trial in 0..cell.trials.len() {
                    let file = |id: &str| dir.join(format!("raw/{id}.{trial}.json"));
                    if file(&id).exists() {
                        std::fs::copy(file(&id), file(&cell.id)).expect("it copies");
                    }
                }
            }
            run.cells.extend(more);
        });
    });
    let mut columns = None;
    for line in readme.lines() {
        let cells = line.starts_with('|').then(|| line.replace("\\|", "").matches('|').count());
        assert!(columns.is_none() || cells.is_none() || columns == cells, "{line}");
        columns = cells;
    }
    assert!(readme.contains("5\u{202f}000/s") && html.contains("1\u{202f}KiB"));
}

#[test]
fn an_unfinished_run_says_so_first_and_a_failure_is_not_hidden() {
    let (html, readme) = drawn(|dir| small(dir, |run| run.complete = false));
    let place = |text: &str, what: &str| text.find(what).unwrap_or(usize::MAX);
    assert!(place(&html, "This run is unfinished") < place(&html, "id=\"answer\""));
    assert!(place(&readme, "This run is unfinished") < place(&readme, "## "));
    for text in [&html, &readme] {
        assert!(text.contains("failed: the broker did not come up"));
        assert!(text.contains("nats-server is not installed"));
    }
}

/// After the first of several rounds, and of a plan of one trial.
#[test]
fn one_trial_of_each_has_no_interval_and_says_so() {
    for complete in [false, true] {
        let (html, readme) = drawn(|dir| {
            small(dir, |run| {
                run.complete = complete;
                run.plan.trials = if complete { 1 } else { 3 };
                run.cells.iter_mut().for_each(|cell| cell.trials.truncate(1));
            });
        });
        let mut rows = readme.lines().filter(|line| line.starts_with("| "));
        assert!(!html.contains("class=\"range\">[") && !rows.any(|row| row.contains('[')), "{readme}");
        for text in [&html, &readme] {
            assert!(text.contains("No figure has an interval"));
            assert_eq!(text.contains("first look: 1 of 3 planned trials of each"), !complete);
            assert!(!text.contains("This run is unfinished"));
        }
    }
}

#[test]
fn an_empty_run_still_gives_a_report() {
    let (html, readme) = drawn(|dir| small(dir, |run| run.cells.clear()));
    assert!(html.contains("nats-server is not installed") && readme.contains("## Machine"));
}

/// Somebody's own README is no index, and is not replaced by one.
#[test]
fn the_index_replaces_no_other_file() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("README.md"), "# My thesis\n").expect("it is writable");
    let error = format!("{:#}", index(dir.path()).expect_err("refused"));
    assert!(error.contains("README.md is not an index"), "{error}");
    let text = fs::read_to_string(dir.path().join("README.md")).expect("it is there");
    assert_eq!(text, "# My thesis\n");
}

#[test]
fn the_index_lists_runs_newest_first_and_damaged_ones_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |name: &str, created: &str| {
        small(&dir.path().join(name), |run| {
            run.name = name.to_owned();
            run.created = created.to_owned();
        });
    };
    run("older", "2026-01-02T03:04:05+01:00");
    run("newer", "2026-01-02T03:04:05+00:00"); // an hour later
    run("odd name", "2025-01-01T00:00:00Z");
    fs::create_dir(dir.path().join("broken")).expect("a folder");
    fs::write(dir.path().join("broken/run.json"), "{").expect("it is writable");
    fs::create_dir(dir.path().join("something else")).expect("a folder");
    // What was not published is not listed, damaged or not.
    run("own", "2026-01-02T03:04:05+00:00");
    run("own and broken", "2026-01-02T03:04:05+00:00");
    fs::write(dir.path().join("own and broken/run.json"), "{").expect("it is writable");
    for name in ["own", "own and broken"] {
        fs::write(dir.path().join(name).join(".gitignore"), "*\n").expect("it is writable");
    }
    index(dir.path()).expect("it writes");
    index(dir.path()).expect("it writes again");
    let text = fs::read_to_string(dir.path().join("README.md")).expect("it was written");
    insta::assert_snapshot!(text.replace(&dir.path().display().to_string(), "RESULTS"));
}

/// A run that somebody else made, or changed: whatever its numbers are, a report is drawn, or
/// refused.
#[test]
fn fuzz_reports() {
    let mut histogram = crate::stats::new_histogram();
    (1..2_000).for_each(|value| histogram.saturating_record(value * 100));
    let times = crate::stats::encode(&histogram).expect("memory");
    let raw = Raw {
        response: times.clone(),
        service: times.clone(),
        lag: times,
        interval_ns: 100_000_000,
        series: vec![Interval { received: 9, max_ns: 200, sum_ns: 900, offered: 9 }; 12],
        ..Raw::default()
    };
    let raw = serde_json::to_string(&raw).expect("JSON");
    let seed = include_bytes!("../../../fuzz/seeds/run.json");
    fuzz::Target::new("reports").seed(seed).memory(256 << 20).cost(100).run(|input| {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        fs::create_dir(dir.path().join("raw")).expect("a folder");
        let name = "raw/reqrep-tcp.64B.1x1.capacity.71300ps-poisson.0.json";
        fs::write(dir.path().join(name), &raw).expect("a file");
        fs::write(dir.path().join("run.json"), input).expect("a file");
        draw(dir.path()).is_ok()
    });
}
