//! `lab bench --resume` continues only what it could have made itself, and one process at a time
//! writes to a result set.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Live, bench, read, run, text};
use crate::result_sets::tiny;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("resume::what_cannot_be_compared_is_not_continued", other_conditions),
        trial("resume::one_process_at_a_time_writes", locked),
        trial("resume::a_value_given_twice_is_one_case", given_twice),
    ]
}

/// A result set of another program, machine, broker or plan is not continued, and nothing changes.
fn other_conditions() -> Result<()> {
    let (_dir, out) = tiny(&["oneway-inproc"], &["--load", "1000"])?;
    let path = out.join("run.json");
    let whole: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let changes: [(&str, Value, &str); 5] = [
        ("/versions/lab", "0.0.1".into(), "made with lab 0.0.1"),
        ("/versions/git", "0123456".into(), "0123456"),
        ("/versions/profile", "other".into(), "other"),
        ("/host/name", "elsewhere".into(), "made with the machine elsewhere"),
        ("/host/cores", 77.into(), "77 CPUs"),
    ];
    for (pointer, value, said) in changes {
        let mut other = whole.clone();
        *other.pointer_mut(pointer).with_context(|| format!("no {pointer}"))? = value;
        fs::write(&path, serde_json::to_string_pretty(&other)?)?;
        let before = fs::read(&path)?;
        run(&["bench", "--resume", "--out", text(&out)?])?.expect(1)?.told(&[
            "cannot be continued",
            said,
            "--out",
        ])?;
        ensure!(fs::read(&path)? == before, "a result set that was refused was written to");
    }
    fs::write(&path, serde_json::to_string_pretty(&whole)?)?;
    let resume = |more: &[&str]| run(&[&["bench", "--resume", "--out", text(&out)?], more].concat());
    resume(&["--trials", "7"])?.expect(2)?.told(&["another plan", "trials"])?;
    resume(&["oneway-tcp"])?.expect(2)?.told(&["another plan", "labs"])?;
    resume(&[])?.expect(0)?;
    Ok(())
}

fn locked() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("both");
    let args = ["bench", "oneway-inproc", "--load", "2000", "--seconds", "0.3", "--warmup", "0"];
    let mut live = Live::start(&[&args[..], &["--trials", "500", "--out", text(&out)?]].concat())?;
    live.until_said("[  1/500]")?;
    run(&["bench", "--resume", "--out", text(&out)?])?
        .expect(1)?
        .told(&["another `lab` is writing", "--out"])?;
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130)?;
    Ok(())
}

fn given_twice() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let axes = ["--load", "1000", "--load", "1e3", "--load", "1000.0", "--size", "64", "--size", "64"];
    let more = ["--senders", "1,1", "--set", "depth=8,8", "--trials", "1", "--seconds", "0.2"];
    bench(&[&["oneway-inproc"], &axes[..], &more[..]].concat(), &out)?.expect(0)?;
    let run = read(&out)?;
    ensure!(run.cells.len() == 1 && run.plan.knobs.get("depth") == Some(&8), "{:?}", run.plan);
    Ok(())
}
