//! `lab` in shells, continuous integration and containers: signals, closed outputs, limits,
//! units, and what it leaves behind.

mod play;
mod small;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::program::{Live, Ran, code, read, run, text};
use crate::{lab, trial, wait_until};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("shell::hangup_is_ignored_under_nohup", || stays_ignored("HUP", Signal::HUP)),
        trial("shell::interruption_is_ignored_where_the_shell_says_so", || stays_ignored("INT", Signal::INT)),
        trial("shell::interrupting_the_front_alone_keeps_the_result", front_alone),
        trial("shell::interrupting_the_group_counts_once", group_once),
        trial("shell::outputs_that_nobody_reads_harm_nothing", nobody_reads),
        trial("shell::output_that_cannot_be_written_is_an_error", full_output),
        trial("shell::killed_group_is_swept_by_the_next_start", swept),
        trial("shell::interrupted_run_leaves_no_file", || leaves_nothing(Signal::INT)),
        trial("shell::terminated_run_leaves_no_file", || leaves_nothing(Signal::TERM)),
        trial("shell::living_session_is_not_swept", lives),
        trial("shell::units_and_lists_are_understood", units),
        trial("shell::name_of_the_machine_is_recorded", named_host),
        trial("shell::worker_that_a_signal_ended_is_named", named_signal),
    ];
    trials.extend(
        REFUSED.iter().map(|(name, args, words)| {
            trial(&format!("shell::refused_{name}"), move || refused(args, words))
        }),
    );
    trials.extend(play::trials());
    trials.extend(small::trials());
    trials
}

/// A benchmark that is over soon.
const SHORT: [&str; 10] =
    ["--no-floor", "--trials", "1", "--seconds", "0.5", "--warmup", "0.1", "--load", "500", "--json"];

fn short(labs: &[&str]) -> Vec<String> {
    ["bench"].iter().chain(labs).chain(&SHORT).map(ToString::to_string).collect()
}

/// `lab` with these arguments, started by a shell that runs this first.
fn after(first: &str, args: &[&str]) -> Command {
    let command = lab(&[]);
    let program = command.get_program().to_owned();
    let mut shell = Command::new("sh");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(program).args(args).stdin(Stdio::null());
    shell
}

/// A folder for temporary files and the user's state of one test.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Result<Self> {
        let home = Self(tempfile::tempdir()?);
        fs::create_dir(home.0.path().join("t"))?;
        fs::create_dir(home.0.path().join("state"))?;
        Ok(home)
    }

    fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("TMPDIR", self.0.path().join("t")).env("XDG_STATE_HOME", self.0.path().join("state"));
        command.env_remove("XDG_RUNTIME_DIR")
    }

    fn bench(&self, labs: &[&str], out: &str, more: &[&str]) -> Result<Command> {
        let out = self.0.path().join(out);
        let mut command =
            lab(&[&["bench"], labs, &["--no-floor", "--trials", "1", "--out", text(&out)?], more].concat());
        self.of(&mut command);
        Ok(command)
    }

    /// Everything that is left, also in memory.
    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for folder in [self.0.path().join("t"), self.0.path().join("state/messaging-lab")] {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                left.push(entry?.path().display().to_string());
            }
        }
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let session = fs::read_link(entry.path().join(".session"));
            if session.is_ok_and(|session| session.starts_with(self.0.path())) {
                left.push(entry.path().display().to_string());
            }
        }
        Ok(left)
    }
}

fn stays_ignored(name: &str, signal: Signal) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args = short(&["oneway-tcp"]);
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    args.extend(["--out", text(&out)?]);
    let mut live = Live::spawn(after(&format!("trap '' {name}"), &args))?;
    live.until_said("to run")?;
    // Again and again, so that each of its processes gets it.
    while !live.has_ended()? {
        live.signal_group(signal)?;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ran = live.end()?;
    ensure!(ran.code != 128 + signal.as_raw(), "it has ended by the signal:\n{}", ran.err);
    ensure!(read(&out)?.complete, "it was not finished:\n{}", ran.err);
    Ok(())
}

/// Two trials, the second so long that it is the one that is interrupted.
fn interrupted(send: impl Fn(&Live) -> Result<()>) -> Result<(Ran, tempfile::TempDir, Vec<u32>)> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args = ["bench", "oneway-tcp", "--no-floor", "--trials", "50", "--seconds", "0.5", "--load", "500"];
    let mut live = Live::start(&[&args[..], &["--out", text(&out)?]].concat())?;
    live.until_said("[  1/")?;
    live.until_at_work("sender-0", 0)?;
    let below = live.below("role");
    send(&live)?;
    Ok((live.end()?, dir, below))
}

fn front_alone() -> Result<()> {
    let (ran, dir, below) = interrupted(|live| {
        harness::process::signal(live.pid(), Signal::INT);
        Ok(())
    })?;
    let ran = ran.expect(130)?;
    ran.told(&["interrupted after", "their results are kept", "The report:"])?;
    ensure!(!below.iter().any(|&pid| harness::process::runs(pid)), "roles have outlived it");
    ensure!(!read(&dir.path().join("out"))?.cells.is_empty());
    Ok(())
}

/// The keyboard's interruption reaches the worker twice: by the group, and by the front. A
/// second one would have ended it without a report.
fn group_once() -> Result<()> {
    let (ran, _dir, _) = interrupted(|live| live.signal_group(Signal::INT))?;
    ran.expect(130)?.told(&["interrupted after", "The report:", "To continue:"])
}

/// As `2>&1 | head -1` leaves them: pipes that nobody reads any more.
fn nobody_reads() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let bench: Vec<String> = short(&["oneway-tcp", "oneway-unix"])
        .into_iter()
        .filter(|word| word != "--json")
        .chain(["--out".to_owned(), text(&out)?.to_owned()])
        .collect();
    let bench: Vec<&str> = bench.iter().map(String::as_str).collect();
    for args in [
        &bench[..],
        &["list"],
        &["run", "oneway-tcp", "--pace", "0", "--no-measure"],
        &["selftest", "--list"],
        &["correlation", "--abandon", "1"],
        &["bench", "no-such-lab"],
        &["report", "/nowhere"],
        &["--help"],
        &["bench", "--nonsense"],
    ] {
        for closed in [[true, true], [false, true], [true, false]] {
            let pipe = |closed: bool| -> Result<Stdio> {
                let (reader, writer) = std::io::pipe()?;
                if !closed {
                    // Somebody reads it, and forgets it.
                    std::thread::spawn(move || std::io::copy(&mut &reader, &mut std::io::sink()));
                }
                Ok(writer.into())
            };
            if out.exists() {
                fs::remove_dir_all(&out)?;
            }
            let status = lab(args).stdout(pipe(closed[0])?).stderr(pipe(closed[1])?).status()?;
            let code = code(status);
            ensure!(code != 101 && code < 128, "{args:?} with {closed:?} closed ended with {code}");
            if args[0] == "bench" && args.contains(&"oneway-unix") {
                ensure!(read(&out)?.complete, "nothing is kept of {args:?}");
            }
        }
    }
    Ok(())
}

fn full_output() -> Result<()> {
    let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
    let output = lab(&["list"]).stdout(full).output()?;
    ensure!(code(output.status) == 1, "{}", output.status);
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.starts_with("lab: ") && said.contains("No space left"), "{said}");
    Ok(())
}

/// Labs that keep sockets, and logs on a disk.
const KEEPERS: [&str; 2] = ["oneway-unix", "queue-tcp"];

fn swept() -> Result<()> {
    let home = Home::new()?;
    for (number, lab) in KEEPERS.iter().enumerate() {
        let command = home.bench(&[*lab], &format!("killed-{number}"), &["--seconds", "60"])?;
        let mut live = Live::spawn(command)?;
        live.until_at_work(if *lab == "queue-tcp" { "producer-0" } else { "sender-0" }, 0)?;
        let all = harness::process::tree(&[live.pid()]);
        live.signal_group(Signal::KILL)?;
        live.end()?;
        wait_until("everything has ended", || Ok(!all.iter().any(|&pid| harness::process::runs(pid))))?;
    }
    ensure!(!home.left()?.is_empty(), "nothing was left: this shows nothing");
    let output = home.bench(&["oneway-tcp"], "next", &SHORT[3..])?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(home.left()?.is_empty(), "these are left: {:?}", home.left()?);
    Ok(())
}

fn leaves_nothing(signal: Signal) -> Result<()> {
    let home = Home::new()?;
    for (number, lab) in KEEPERS.iter().enumerate() {
        let mut live = Live::spawn(home.bench(&[*lab], &number.to_string(), &["--seconds", "60"])?)?;
        live.until_at_work(if *lab == "queue-tcp" { "producer-0" } else { "sender-0" }, 0)?;
        live.signal_group(signal)?;
        live.end()?;
        ensure!(home.left()?.is_empty(), "{lab} has left {:?}", home.left()?);
    }
    Ok(())
}

/// Another start must not take the files of a session that runs.
fn lives() -> Result<()> {
    let home = Home::new()?;
    let mut live = Live::spawn(home.bench(&["oneway-unix"], "one", &["--seconds", "60"])?)?;
    live.until_at_work("sender-0", 0)?;
    let before = home.left()?;
    let output = home.bench(&["oneway-tcp"], "two", &SHORT[3..])?.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(before.len() == 3 && home.left()? == before, "{before:?} became {:?}", home.left()?);
    live.signal_group(Signal::INT)?;
    live.end()?;
    Ok(())
}

fn units() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args =
        ["bench", "oneway-tcp", "--no-floor", "--trials", "1", "--size", "32,1k", "--seconds", "300ms"];
    let more = ["--warmup", "0.1s", "--load", "1k,2k/s", "--drain", "5s", "--senders", "1", "--window", "1k"];
    let ran = run(&[&args[..], &more, &["--out", text(&out)?]].concat())?;
    ensure!(ran.code < 2, "{}", ran.err);
    let plan = read(&out)?.plan;
    ensure!(plan.sizes == [32, 1024] && plan.seconds == 0.3 && plan.warmup_s == 0.1, "{plan:?}");
    let labels: Vec<String> = plan.loads.iter().map(harness::results::Load::label).collect();
    ensure!(labels == ["1000/s", "2000/s"] && plan.window == Some(1000), "{plan:?}");
    Ok(())
}

type Refused = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Every error of the command line looks the same, and is found before anything is started.
const REFUSED: [Refused; 12] = [
    ("size", &["bench", "oneway-tcp", "--size", "64x"], &["`64x` is not a size in bytes"]),
    ("seconds", &["bench", "oneway-tcp", "--seconds", "soon"], &["`soon` is not a time"]),
    ("trials", &["bench", "oneway-tcp", "--trials", "1.5"], &["`1.5` is not a whole number"]),
    ("load", &["bench", "oneway-tcp", "--load", "10q"], &["`10q` is not a load"]),
    ("senders", &["bench", "oneway-tcp", "--senders", "1,many"], &["`many`"]),
    ("cpu_that_is_not_there", &["bench", "oneway-tcp", "--cpus", "0,4000"], &["CPU 4000", "it may use"]),
    ("cpus", &["bench", "oneway-tcp", "--cpus", "all"], &["`all` is not a list of CPUs"]),
    ("host", &["bench", "oneway-tcp", "--host", "../x"], &["`../x` cannot be the name of a machine"]),
    ("option", &["bench", "--sise", "64"], &["--sise"]),
    ("command", &["bnech"], &["bnech"]),
    ("deadline", &["status", "redis", "--deadline", "2h"], &["out of range"]),
    ("knob", &["bench", "oneway-tcp", "--set", "write-bytes=64x"], &["`write-bytes=64x` is not KNOB=VALUE"]),
];

fn refused(args: &[&str], words: &[&str]) -> Result<()> {
    let ran = run(args)?.expect(2)?;
    ran.told(words)?;
    ensure!(ran.err.starts_with("lab: "), "this begins otherwise than other errors:\n{}", ran.err);
    Ok(())
}

fn named_host() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args = short(&["oneway-tcp"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = run(&[&args[..], &["--host", "ci-runner.2", "--out", text(&out)?]].concat())?;
    ensure!(ran.code < 2, "{}", ran.err);
    ensure!(read(&out)?.host.name == "ci-runner.2");
    Ok(())
}

fn named_signal() -> Result<()> {
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("the test program is in no folder")?;
    let output = Command::new(profile.join("examples/guarded")).arg("abort").output()?;
    ensure!(code(output.status) == 134, "{}", output.status);
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.contains("worker process was ended by SIGABRT"), "{said}");
    Ok(())
}

/// Signals are at their defaults in what the tests start, whatever started the tests.
pub(crate) fn default_signals(command: &mut Command) {
    #[expect(unsafe_code, reason = "between fork and exec; async-signal-safe system calls")]
    // SAFETY: the closure only makes system calls that are allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}
