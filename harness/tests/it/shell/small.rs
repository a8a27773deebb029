//! Little room: memory for accounts, open files, a terminal that does not say what it is.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::{SHORT, after};
use crate::needs::{Need, needs};
use crate::program::{code, read, text};
use crate::{lab, trial};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("shell::little_shared_memory_fails_a_trial_with_the_reason", || shared_memory("16k")),
        trial("shell::no_shared_memory_fails_a_trial_with_the_reason", || shared_memory("4k")),
        trial("shell::limit_of_open_files_is_raised", raised),
        trial("shell::few_open_files_fail_one_trial", few_files),
        needs(
            Need::Program("script", "bsdutils"),
            "shell::terminal_without_a_name_gets_plain_lines",
            nameless,
        ),
    ]
}

/// In a mount namespace of its own, where this user may have one.
fn shared_memory(size: &str) -> Result<()> {
    let namespace = [&["-m"][..], &["-Urm"]].into_iter().find(|flags| {
        Command::new("unshare").args(*flags).arg("true").output().is_ok_and(|ran| ran.status.success())
    });
    let Some(flags) = namespace else {
        // The reservation itself is tested beside its code.
        eprintln!("no mount namespace can be made here: not tested with a small /dev/shm");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let mut command = Command::new("unshare");
    command.args(flags).args(["sh", "-c"]);
    command.arg(format!("mount -t tmpfs -o size={size} none /dev/shm && exec \"$0\" \"$@\""));
    command.arg(lab(&[]).get_program()).args(["bench", "oneway-tcp"]).args(&SHORT[..9]);
    command.args(["--out", text(&out)?]).env_remove("CI").env_remove("LAB_GUARD");
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(code(output.status) == 1, "{}: {said}", output.status);
    ensure!(said.contains("1 trial failed") && said.contains("no room for the account"), "{said}");
    let run = read(&out)?;
    ensure!(run.complete && run.cells[0].trials[0].failed.is_some(), "{said}");
    Ok(())
}

fn raised() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let labs = ["bench", "pubsub-tcp", "--receivers", "30"];
    let args = [&labs[..], &SHORT[..9], &["--out", text(&out)?]].concat();
    let output = after("ulimit -S -n 64", &args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!said.contains("Too many open files"), "{said}");
    ensure!(read(&out)?.complete, "{said}");
    Ok(())
}

/// One case needs more files than are allowed; the other is still measured.
fn few_files() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let labs = ["bench", "pubsub-tcp", "--receivers", "1,40"];
    let args = [&labs[..], &SHORT[..9], &["--out", text(&out)?]].concat();
    let output = after("ulimit -n 100", &args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(code(output.status) == 1, "{}: {said}", output.status);
    let run = read(&out)?;
    let failed = |receivers| {
        let mut cells = run.cells.iter().filter(move |cell| cell.receivers == receivers);
        cells.all(|cell| cell.trials.iter().all(|trial| trial.failed.is_some()))
    };
    ensure!(run.complete && failed(40) && said.contains("The report:"), "{said}");
    ensure!(!failed(1), "the small case has failed, too: {said}");
    Ok(())
}

fn nameless() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let line = format!(
        "{} bench oneway-tcp {} --out {}",
        lab(&[]).get_program().to_string_lossy(),
        SHORT[..9].join(" "),
        text(&out)?
    );
    for term in [None, Some(""), Some("dumb")] {
        if out.exists() {
            std::fs::remove_dir_all(&out)?;
        }
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command
            .env_remove("CI")
            .env_remove("LAB_GUARD")
            .env_remove("TERM")
            .stdin(std::process::Stdio::null());
        command.envs(term.map(|term| ("TERM", term)));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("1 trials to run") && said.contains("[  1/1]"), "TERM {term:?}: {said}");
        ensure!(!said.contains('\x1b'), "TERM {term:?}: it moves the cursor: {said:?}");
    }
    Ok(())
}
