//! What a benchmark leaves behind: accounts that add up, a result_set that outlives
//! interruptions, and reports that can be drawn again from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use harness::broker::{self, Source};
use harness::process::{runs, tree};
use harness::results::{ARCHIVE, BenchmarkCase, LoadKind, ResultSet};
use labs::lab::Broker;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::needs::needs;
use crate::program::{Live, bench, read, run, text};
use crate::report::fixture;
use crate::{lab, trial, wait_until};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("result_sets::counts_add_up_and_reports_redraw", counts_and_redraw),
        trial("result_sets::plan_file_is_followed", plan_file),
        trial("result_sets::damaged_run_json_is_refused", damaged),
        trial("result_sets::other_schema_is_refused", other_schema),
        trial("result_sets::lost_recording_is_named", lost_recording),
        trial("result_sets::older_schemas_are_read_and_packed", older_schemas),
        trial("result_sets::interrupted_run_keeps_its_trials_and_resumes", interrupted),
        needs(Broker::Redis, "result_sets::killed_run_leaves_no_process", killed),
        needs(Broker::Redis, "result_sets::own_broker_is_used_judged_and_left_clean", own_broker),
        trial("result_sets::own_broker_that_does_not_answer", deaf_broker),
    ]
}

/// A result set as short as one can be.
pub(crate) fn tiny(labs: &[&str], more: &[&str]) -> Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("tiny");
    let fixed = ["--trials", "1", "--seconds", "0.2", "--warmup", "0.1", "--seed", "7"];
    bench(&[labs, more, &fixed].concat(), &out)?.expect(0)?;
    Ok((dir, out))
}

fn counts_and_redraw() -> Result<()> {
    let (_dir, out) = tiny(&["oneway-tcp", "oneway-inproc"], &[])?;
    let run_made = read(&out)?;
    ensure!(run_made.complete && run_made.seed == 7 && run_made.cells.len() == 6, "{}", run_made.cells.len());
    let result_set = ResultSet::open(&out)?.0;
    for cell in &run_made.cells {
        add_up(cell)?;
        let raw = result_set.raw(&cell.id, 0)?;
        let trial = &cell.trials[0];
        let in_series: u64 = raw.series.iter().map(|interval| interval.received).sum();
        let all = trial.counts.received + trial.counts.duplicated;
        ensure!(in_series == all, "{}: {in_series} in the series, {all} received", cell.id);
        let open = cell.load.kind == LoadKind::Rate;
        ensure!((trial.response_ns.count > 0) == open, "{}: closed loops have no latencies", cell.id);
    }
    let before = drawn(&out)?;
    ensure!(before.keys().any(|name| name.ends_with(".svg")) && before.contains_key("report.html"));
    fs::remove_dir_all(out.join("plots"))?;
    for name in ["report.html", "README.md"] {
        fs::remove_file(out.join(name))?;
    }
    let ran = run(&["report", text(&out)?])?.expect(0)?;
    ensure!(ran.out.trim() == text(&out.join("report.html"))?, "{}", ran.out);
    let after = drawn(&out)?;
    let differing: Vec<&String> =
        before.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
    ensure!(before.len() == after.len() && differing.is_empty(), "drawn again, {differing:?} differ");
    Ok(())
}

/// No message appears from nowhere, and none goes without a word.
fn add_up(cell: &BenchmarkCase) -> Result<()> {
    let summary = cell.summary.as_ref().with_context(|| format!("{} has no summary", cell.id))?;
    let counts = &summary.counts;
    ensure!(counts.sent > 0 && counts.refused == 0, "{}: {counts:?}", cell.id);
    ensure!(counts.sent == counts.received + counts.lost, "{}: {counts:?}", cell.id);
    ensure!(counts.lost == counts.confirmed_lost + counts.unconfirmed_lost, "{}: {counts:?}", cell.id);
    ensure!(counts.corrupt + counts.misrouted + counts.negative == 0, "{}: {counts:?}", cell.id);
    // Both transports of these tests keep everything and its order.
    ensure!(counts.lost + counts.duplicated + counts.reordered == 0, "{}: {counts:?}", cell.id);
    Ok(())
}

/// Every file that a report consists of, with its content.
fn drawn(out: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for name in ["report.html", "README.md"] {
        files.insert(name.to_owned(), fs::read(out.join(name))?);
    }
    for plot in fs::read_dir(out.join("plots"))? {
        let plot = plot?;
        files.insert(plot.file_name().to_string_lossy().into_owned(), fs::read(plot.path())?);
    }
    Ok(files)
}

fn plan_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (plan, out) = (dir.path().join("mine.toml"), dir.path().join("out"));
    fs::write(
        &plan,
        "labs = ['oneway-inproc']\nsizes = [100]\nloads = [2000]\narrivals = 'poisson'\n\
         trials = 2\nseconds = 0.2\nwarmup_s = 0.0\nsenders = 2\nknobs = { flush-every = 5 }\n",
    )?;
    // What the command line says comes after what the file says.
    bench(&["--plan", text(&plan)?, "--trials", "1"], &out)?.expect(0)?;
    let run = read(&out)?;
    let [cell] = &run.cells[..] else { bail!("{} cells", run.cells.len()) };
    ensure!((run.plan.name.as_str(), run.plan.trials) == ("mine", 1), "{:?}", run.plan);
    ensure!((cell.size, cell.senders, cell.load.label().as_str()) == (100, 2, "2000/s poisson"), "{cell:?}");
    add_up(cell)
}

fn damaged() -> Result<()> {
    let (_dir, out) = tiny(&["oneway-inproc"], &["--load", "1000"])?;
    let path = out.join("run.json");
    let whole = fs::read_to_string(&path)?;
    fs::write(&path, &whole[..whole.len() / 2])?;
    refused(&out, &["run.json", "damaged", "--out"])
}

fn other_schema() -> Result<()> {
    let (_dir, out) = tiny(&["oneway-inproc"], &["--load", "1000"])?;
    let path = out.join("run.json");
    let other = fs::read_to_string(&path)?.replacen("\"schema\": 3", "\"schema\": 999", 1);
    fs::write(&path, &other)?;
    refused(&out, &["schema 999", "up to 3"])?;
    fs::write(&path, "{\"hello\": 1}")?;
    refused(&out, &["no `schema` field"])
}

/// `lab report` and `lab bench --resume` both say what is wrong, and touch nothing.
fn refused(out: &Path, words: &[&str]) -> Result<()> {
    let before = fs::read(out.join("run.json"))?;
    run(&["report", text(out)?])?.expect(1)?.told(words)?;
    run(&["bench", "--resume", "--out", text(out)?])?.expect(1)?.told(words)?;
    ensure!(fs::read(out.join("run.json"))? == before, "a damaged file was written to");
    Ok(())
}

fn lost_recording() -> Result<()> {
    let (_dir, out) = tiny(&["oneway-inproc"], &["--load", "1000"])?;
    let cell = read(&out)?.cells[0].id.clone();
    let archive = out.join(ARCHIVE);
    let whole = fs::read(&archive)?;
    ensure!(!out.join("raw").exists(), "the raw data is packed and loose");
    // Its entry, and the set it belongs to, are named.
    let mut changed = whole.clone();
    changed[600] ^= 1;
    let entry = format!("raw/{cell}.0.json");
    for (content, words) in [
        (&changed[..], ["SHA-256", entry.as_str(), text(&archive)?]),
        (&whole[..1500], ["cut short", entry.as_str(), text(&archive)?]),
    ] {
        fs::write(&archive, content)?;
        run(&["report", text(&out)?])?.expect(1)?.told(&words)?;
        ensure!(fs::read(&archive)? == content, "a damaged archive was written to");
    }
    // What was recorded and is damaged is measured again: then there is a whole recording.
    fs::write(&archive, &changed)?;
    bench(&["--resume"], &out)?.expect(0)?;
    run(&["report", text(&out)?])?.expect(0)?;
    ensure!(fs::read(&archive)? != changed, "the damaged entry is still there");
    fs::remove_file(&archive)?;
    fs::create_dir(out.join("raw"))?;
    fs::write(out.join(&entry), "{")?;
    run(&["report", text(&out)?])?.expect(1)?.told(&["damaged", entry.as_str()])
}

/// What older versions left behind is read as it is, and packed on request.
fn older_schemas() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for schema in [1, 2] {
        let out = dir.path().join(format!("schema-{schema}"));
        fixture::small(&out, |run| run.schema = schema);
        let path = out.join("run.json");
        if schema == 1 {
            // Then a shape was one number of each.
            let mut run: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
            (run["plan"]["senders"], run["plan"]["receivers"]) = (1.into(), 1.into());
            fs::write(&path, serde_json::to_string_pretty(&run)?)?;
        }
        run(&["report", text(&out)?])?.expect(0)?;
        let (drawn_before, before) = (drawn(&out)?, fs::read(&path)?);
        ensure!(out.join("raw").exists() && !out.join(ARCHIVE).exists(), "packed unasked");
        for _ in 0..2 {
            run(&["report", "--pack", text(&out)?])?.expect(0)?;
            ensure!(!out.join("raw").exists() && out.join(ARCHIVE).exists(), "not packed");
            ensure!(drawn(&out)? == drawn_before, "packed, it gives another report");
        }
        let after: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        ensure!(after["schema"] == 3 && fs::read(&path)? != before, "{}", after["schema"]);
    }
    Ok(())
}

fn interrupted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("long");
    let args = ["bench", "oneway-inproc", "--load", "2000", "--seconds", "0.3", "--warmup", "0"];
    let mut live = Live::start(&[&args[..], &["--trials", "6", "--out", text(&out)?]].concat())?;
    live.until_said("[  2/6]")?;
    live.signal_group(Signal::INT)?;
    let ran = live.end()?.expect(130)?;
    ran.told(&["interrupted after", "their results are kept", "lab bench --resume --out", text(&out)?])?;
    let kept = read(&out)?;
    let made = kept.cells[0].trials.len();
    ensure!(!kept.complete && (2..6).contains(&made), "{made} trials were kept");
    ensure!(out.join("report.html").exists(), "what there is has no report");
    ensure!(out.join("raw").exists() && !out.join(ARCHIVE).exists(), "it was packed before its end");
    bench(&["--resume"], &out)?.expect(0)?;
    let whole = read(&out)?;
    ensure!(!out.join("raw").exists() && out.join(ARCHIVE).exists(), "it was not packed at its end");
    ensure!(whole.complete && whole.cells[0].trials.len() == 6, "{:?}", whole.cells[0].trials.len());
    ensure!(whole.cells[0].trials[..made] == kept.cells[0].trials[..], "finished trials were made again");
    add_up(&whole.cells[0])
}

/// A word in the environment that only the processes of this test have.
pub(crate) const MARK: &str = "LAB_TEST_MARK";

fn killed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("killed");
    let mark = text(&out)?.to_owned();
    let mut command = lab(&["bench", "oneway-redis", "--load", "max", "--seconds", "60", "--out", &mark]);
    command.env(MARK, &mark);
    let mut live = Live::spawn(command)?;
    live.until_at_work("role", 5)?;
    let all: BTreeSet<u32> = tree(&[live.pid()]).into_iter().chain(marked(&mark)).collect();
    // Front, guard, worker, two roles and the broker.
    ensure!(
        all.len() >= 6 && live.below("redis-server").len() + live.below("valkey-server").len() == 1,
        "{all:?}"
    );
    harness::process::signal(live.pid(), Signal::KILL);
    ensure!(live.end()?.code == 128 + 9);
    wait_until("every process of the run has gone", || {
        Ok(marked(&mark).is_empty() && !all.iter().any(|&pid| runs(pid)))
    })
}

/// Processes with this mark in their environment.
pub(crate) fn marked(mark: &str) -> Vec<u32> {
    let has = |process: &procfs::process::Process| {
        process
            .environ()
            .is_ok_and(|environ| environ.get(std::ffi::OsStr::new(MARK)).is_some_and(|value| value == mark))
    };
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter(has).map(|process| process.pid as u32).filter(|&pid| runs(pid)).collect()
}

/// A Redis as a user has one; nothing of the harness starts or stops it.
pub(crate) struct Redis {
    pub(crate) child: Child,
    pub(crate) url: String,
    _dir: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Result<Self> {
        let Source::Program(program) = broker::find(Broker::Redis, &BTreeMap::new())? else {
            bail!("no program")
        };
        let dir = tempfile::tempdir()?;
        // The port may be taken between here and there: then Redis ends, and another is tried.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
            let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let mut child = Command::new(&program)
                .args(args)
                .current_dir(&dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            let url = format!("redis://127.0.0.1:{port}");
            let client = redis::Client::open(url.as_str())?;
            let mut ended = false;
            wait_until("Redis answers", || {
                ended = child.try_wait()?.is_some();
                Ok(ended
                    || client
                        .get_connection()
                        .is_ok_and(|mut redis| redis::cmd("PING").exec(&mut redis).is_ok()))
            })?;
            if !ended {
                return Ok(Self { child, url, _dir: dir });
            }
        }
        bail!("five ports were taken one after the other")
    }

    pub(crate) fn keys(&self) -> Result<u64> {
        let mut redis = redis::Client::open(self.url.as_str())?.get_connection()?;
        Ok(redis::cmd("DBSIZE").query(&mut redis)?)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn own_broker() -> Result<()> {
    let mut redis = Redis::start()?;
    let url = format!("redis={}", redis.url);
    let (_dir, out) = tiny(&["queue-redis", "oneway-redis"], &["--load", "1000", "--url", &url])?;
    let run = read(&out)?;
    ensure!(run.cells.len() == 2, "{:?}", run.cells.len());
    for cell in &run.cells {
        add_up(cell)?;
        if cell.lab == "queue-redis" {
            // Its settings do not allow the promise, so the promise is not printed.
            let note = cell.guarantee_note.as_deref().unwrap_or_default();
            ensure!(cell.guarantee == "at-least-once" && note.contains("appendonly"), "{cell:?}");
        }
        let cost = &cell.summary.as_ref().context("no summary")?.cost;
        ensure!(!cost.contains_key("broker"), "the cost of a broker that is not ours is not known");
    }
    ensure!(redis.child.try_wait()?.is_none(), "the user's own Redis was ended");
    ensure!(redis.keys()? == 0, "{} keys stay in the user's own Redis", redis.keys()?);
    Ok(())
}

fn deaf_broker() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("deaf");
    // Nobody listens on port 1.
    let url = "redis=redis://127.0.0.1:1";
    let args =
        ["bench", "oneway-redis", "oneway-inproc", "--trials", "1", "--seconds", "0.2", "--load", "1000"];
    let ran = run(&[&args[..], &["--url", url, "--out", text(&out)?]].concat())?.expect(1)?;
    ran.told(&["cannot connect to Redis at redis://127.0.0.1:1", "nothing was measured over the redis"])?;
    let run = read(&out)?;
    ensure!(run.complete && run.cells.len() == 1 && run.skipped.len() == 1, "{:?}", run.cells);
    ensure!(run.cells[0].trials[0].failed.is_none() && run.skipped[0].lab == "oneway-redis", "{run:?}");
    Ok(())
}
