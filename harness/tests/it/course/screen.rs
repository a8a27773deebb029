//! What a student sees from the first command to the solution.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;

use super::folder::materials;
use crate::lab;
use crate::needs::{Need, Needs, needs};
use crate::program::{Ran, run_in};

pub(super) fn trials() -> Vec<Trial> {
    let python = || Need::Program("python3", "python3");
    let redis = Needs::from(Need::FullBroker(Broker::Redis)).and(python());
    vec![
        needs(python(), "course::way_from_the_starter_to_the_solution", way),
        needs(redis, "course::failed_check_shows_the_smallest_run", witness),
        needs(python(), "course::program_is_checked_when_it_is_saved", watch),
    ]
}

const NAME: &str = "first-message";
/// Only a test that fails waits so long for a line.
const PATIENCE: Duration = Duration::from_secs(60);

fn lab_in(dir: &Path, words: &[&str], code: i32) -> Result<Ran> {
    run_in(dir, words)?.expect(code)
}

fn says(ran: &Ran, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(ran.out.contains(word), "`{word}` was not said, but:\n{}", ran.out);
    }
    Ok(())
}

fn way() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    says(&lab_in(dir, &["exercises"], 0)?, &["0 of 16 exercises passed", "exercises first-message"])?;
    ensure!(!dir.join("exercises").exists(), "looking has written something");
    says(
        &lab_in(dir, &["exercises", NAME], 0)?,
        &["## Goal", "exercises/python/first-message.py", "lab check first-message"],
    )?;
    let program = dir.join("exercises/python/first-message.py");
    let starter = fs::read_to_string(&program)?;
    // A second look changes nothing that the student has written.
    fs::write(&program, format!("{starter}# mine\n"))?;
    lab_in(dir, &["exercises", NAME], 0)?;
    ensure!(fs::read_to_string(&program)?.ends_with("# mine\n"), "the program was overwritten");
    says(&lab_in(dir, &["hint"], 0)?, &["first-message, hint 1 of"])?;
    says(&lab_in(dir, &["hint", NAME], 0)?, &["hint 2 of"])?;
    let kept = lab_in(dir, &["reset", NAME], 0)?;
    says(&kept, &["is the starter again", "first-message.py.1"])?;
    ensure!(fs::read_to_string(&program)? == starter, "no starter");
    ensure!(
        fs::read_to_string(dir.join("exercises/python/first-message.py.1"))?.ends_with("# mine\n"),
        "no copy"
    );

    fs::copy(materials().join(NAME).join("solution.py"), &program)?;
    says(
        &lab_in(dir, &["check"], 0)?,
        &["holds  whole", "first-message: passed", "the next exercise: lab exercises late-joiner"],
    )?;
    says(&lab_in(dir, &["exercises"], 0)?, &["1 of 16 exercises passed", "passed\n"])?;
    says(&lab_in(dir, &["solution", NAME], 0)?, &["course.ready()", "yours", "ours"])?;
    let progress = fs::read_to_string(dir.join("exercises/progress.txt"))?;
    ensure!(
        progress.lines().filter(|line| line.contains(" passed first-message python")).count() == 1,
        "{progress}"
    );
    Ok(())
}

fn witness() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    lab_in(dir, &["exercises", "ack-after-work"], 0)?;
    let failed = lab_in(dir, &["check", "ack-after-work", "--seed", "1"], 1)?;
    says(
        &failed,
        &[
            "FAILS  ack-after-work",
            "expected: first the sink's answer to an effect, then its XACK",
            "the smallest run that shows it: 1 message",
            "XACK tasks workers",
            "ack-after-work: not passed",
            "again: lab check ack-after-work --seed 1 --lang python",
            "hint:  lab hint ack-after-work",
        ],
    )?;
    let replay = fs::read_to_string(dir.join("exercises/witness/ack-after-work.html"))?;
    ensure!(replay.contains("id=\"replay\"") && replay.len() <= 300_000, "no replay, or a long one");
    let svg = fs::read_to_string(dir.join("exercises/witness/ack-after-work.svg"))?;
    ensure!(svg.starts_with("<svg") && svg.contains("XACK tasks workers"), "{svg}");
    Ok(())
}

fn watch() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    lab_in(dir, &["exercises", NAME], 0)?;
    let program = dir.join("exercises/python/first-message.py");
    fs::write(&program, "raise SystemExit('not yet')")?;
    let mut watch = lab(&["watch"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("lab watch")?;
    let mut typed = watch.stdin.take().context("no stdin")?;
    let lines = BufReader::new(watch.stdout.take().context("no stdout")?).lines();
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let until = |word: &str| -> Result<()> {
        let mut before = String::new();
        while let Ok(line) = said.recv_timeout(PATIENCE) {
            if line.contains(word) {
                return Ok(());
            }
            before = before + &line + "\n";
        }
        anyhow::bail!("`{word}` was never said, but:\n{before}")
    };
    until("not yet")?;
    until("save it to check it again")?;
    writeln!(typed, "h")?;
    until("hint 1 of")?;
    fs::copy(materials().join(NAME).join("solution.py"), &program)?;
    until("first-message: passed")?;
    // It stays at this exercise.
    until("save it to check it again")?;
    writeln!(typed, "q")?;
    ensure!(watch.wait()?.success(), "`q` did not end it");
    Ok(())
}
