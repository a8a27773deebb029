//! What a test cannot do without and a machine may not have: brokers, a browser,
//! clients of other languages. Here is the only way to leave a test out; with
//! `CI=true` it fails instead. The last line of all says what was left out.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::broker::{self, Source};
use labs::catalog::Entry;
use labs::lab::Broker;
use libtest_mimic::{Completion, Failed, Trial};

/// What a test cannot do without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// A broker, from wherever.
    Broker(Broker),
    /// One that keeps what labs promise: the embedded one does not.
    FullBroker(Broker),
    /// Chromium's driver.
    Browser,
    /// A program on PATH, and Debian's package that has it.
    Program(&'static str, &'static str),
    /// A module of Python's, among those of `interop/requirements.txt`.
    Module(&'static str),
    /// The right to make a time namespace: nothing that could be installed, so that its lack is no
    /// failure anywhere.
    TimeNamespace,
    /// The same for networks of its own, and clocks in them.
    Networks,
}

/// How the last line of all names it.
const TIME_NAMESPACE: &str = "a time namespace";
const NETWORKS: &str = "networks of their own";

/// All that one test needs.
#[derive(Debug, Default)]
pub(crate) struct Needs(Vec<Need>);

impl Needs {
    pub(crate) fn and(mut self, more: Need) -> Self {
        self.0.push(more);
        self
    }
}

impl From<Broker> for Needs {
    fn from(broker: Broker) -> Self {
        Need::Broker(broker).into()
    }
}

impl From<Option<Broker>> for Needs {
    fn from(broker: Option<Broker>) -> Self {
        Self(broker.map(Need::Broker).into_iter().collect())
    }
}

impl From<Need> for Needs {
    fn from(need: Need) -> Self {
        Self(vec![need])
    }
}

/// How many tests were left out for lack of what.
static LEFT_OUT: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// A test that was run.
#[derive(Debug, Clone)]
struct Ran {
    name: String,
    took: Duration,
    /// Why it failed, where it did.
    failed: Option<String>,
}

/// Every test that was run.
static RAN: Mutex<Vec<Ran>> = Mutex::new(Vec::new());

fn ran() -> std::sync::MutexGuard<'static, Vec<Ran>> {
    RAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test, and notes how long it takes.
pub(crate) fn timed(name: &str, test: impl FnOnce() -> Result<()>) -> Result<(), Failed> {
    let began = Instant::now();
    let failed = match catch_unwind(AssertUnwindSafe(test)) {
        Ok(done) => done.err().map(|error| format!("{error:#}")),
        Err(panic) => Some(format!("panicked: {}", said(&*panic))),
    };
    ran().push(Ran { name: name.to_owned(), took: began.elapsed(), failed: failed.clone() });
    failed.map_or(Ok(()), |why| Err(Failed::from(why)))
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Most of a failure's reason that is shown again, bytes.
const SHOWN: usize = 3000;

/// The failures again, at the end of all output: what the tests print between may be long, and what
/// keeps logs often keeps their end.
fn tell_failures() {
    for Ran { name, failed, .. } in ran().iter() {
        let Some(why) = failed else { continue };
        let end = why.floor_char_boundary(SHOWN);
        let more = if end < why.len() { "…" } else { "" };
        eprintln!("FAILED {name}: {}{more}\n", &why[..end]);
    }
}

/// With `LAB_TEST_TIMES=N` in the environment, the N slowest tests.
fn tell_times() {
    let Some(most) = std::env::var("LAB_TEST_TIMES").ok().and_then(|most| most.parse().ok()) else { return };
    let mut ran = ran();
    ran.sort_by_key(|test| std::cmp::Reverse(test.took));
    for test in ran.iter().take(most) {
        eprintln!("{:6.1} s  {}", test.took.as_secs_f64(), test.name);
    }
}

/// With `LAB_PROOFS=FILE` in the environment, as `./run prove` sets it: every test that was
/// run, with its result, as a page that can be committed. `took` is the whole run.
pub(crate) fn tell_proofs(took: Duration) -> Result<()> {
    let Some(file) = std::env::var_os("LAB_PROOFS") else { return Ok(()) };
    let mut tests = ran().clone();
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    let host = harness::measure::host::host();
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).stdin(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    // Tracked files only: the page itself may be one of them, and is not yet written.
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    let mut page = format!(
        "# Long tests on {}\n\nWritten by `./run prove`, which runs the tests that take long or need the machine for themselves.\n\n\
         - Commit: {commit}{}\n- Machine: {} cores, {}, {}\n- Result: {} passed, {} failed, in {:.0} s\n\n| test | s | result |\n| --- | ---: | --- |\n",
        host.name,
        if changed { ", with changes that are not committed" } else { "" },
        host.cores,
        host.cpu,
        host.kernel,
        tests.iter().filter(|test| test.failed.is_none()).count(),
        tests.iter().filter(|test| test.failed.is_some()).count(),
        took.as_secs_f64(),
    );
    for test in &tests {
        let result = if test.failed.is_none() { "passed" } else { "**failed**" };
        page += &format!("| `{}` | {:.1} | {result} |\n", test.name, test.took.as_secs_f64());
    }
    let told = crate::documented::told();
    if !told.is_empty() {
        page += &format!("\n## Commands of the documentation that were not run as they stand\n\n{told}");
    }
    let left_out = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(line) = line(&left_out, false, is_root()) {
        page += &format!("\n{line}\n");
    }
    std::fs::write(&file, page).with_context(|| format!("cannot write {}", Path::new(&file).display()))
}

/// A trial that is left out, and says why, where something it needs is missing; with
/// `CI=true` it fails.
pub(crate) fn needs(
    needs: impl Into<Needs>,
    name: &str,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    let (Needs(needs), called) = (needs.into(), name.to_owned());
    Trial::ignorable_test(name, move || {
        let Some((what, why)) = needs.into_iter().find_map(Need::missing) else {
            return timed(&called, test).map(|()| Completion::Completed);
        };
        if on_ci() && ![TIME_NAMESPACE, NETWORKS].contains(&what.as_str()) {
            return Err(Failed::from(why));
        }
        *LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
        Ok(Completion::ignored_with(why))
    })
}

/// A trial that takes long or must have the machine for itself: `./run prove` carries it out,
/// `./run test` lists it as ignored.
pub(crate) fn proof(trial: Trial) -> Trial {
    trial.with_ignored_flag(true)
}

/// The labs over brokers whose long tests come in every run: for each client at least one, of
/// different patterns.
const OFTEN: [&str; 9] = [
    "pubsub-redis",
    "queue-redis",
    "queue-redis-stream",
    "queue-rabbitmq",
    "durable-stomp",
    "pubsub-mqtt",
    "queue-mqtt",
    "reqrep-nats",
    "queue-jetstream",
];

/// A long trial of a lab: over a broker, `./run prove` has it, unless the lab is one of [`OFTEN`].
pub(crate) fn often(lab: &Entry, trial: Trial) -> Trial {
    if lab.broker.is_none() || OFTEN.contains(&lab.name.as_str()) { trial } else { proof(trial) }
}

/// A name that no lab has would leave its tests to `./run prove`, and nobody would notice.
fn often_exist() -> Result<()> {
    let labs = labs::catalog::entries();
    let known = OFTEN.map(|name| labs.iter().find(|lab| lab.name == name).context(name));
    let brokers = known.into_iter().map(|lab| Ok(lab?.broker)).collect::<Result<Vec<_>>>()?;
    for broker in Broker::ALL {
        ensure!(brokers.contains(&Some(broker)), "no lab over {broker} is often tested");
    }
    Ok(())
}

fn on_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false")
}

impl Need {
    /// What is missing, and why it counts as missing.
    pub(crate) fn missing(self) -> Option<(String, String)> {
        let lack = |what: &str, there: bool, why: String| (!there).then(|| (what.to_owned(), why));
        match self {
            Self::Broker(broker) => {
                let missing = broker::find(broker, &BTreeMap::new()).err()?;
                Some((broker.to_string(), missing.to_string()))
            }
            Self::FullBroker(broker) => match broker::find(broker, &BTreeMap::new()) {
                Ok(Source::Embedded) => {
                    Some((broker.to_string(), format!("the embedded {broker} keeps less than labs promise")))
                }
                Ok(_) => None,
                Err(missing) => Some((broker.to_string(), missing.to_string())),
            },
            Self::Browser => {
                let driver = crate::browser::Driver::find().err()?;
                Some(("chromedriver".to_owned(), driver.to_string()))
            }
            Self::Program(program, package) => {
                let why = format!("{program} is not on PATH; install the package {package}");
                lack(program, starts(Command::new(program).arg("--help")), why)
            }
            Self::TimeNamespace => {
                let mut command = Command::new("unshare");
                command.args(["--time", "--monotonic", "5", "--fork", "--kill-child", "true"]);
                let there = starts(&mut command);
                lack(TIME_NAMESPACE, there, "this user may not make a time namespace".to_owned())
            }
            Self::Networks => {
                let mut command = crate::remote::on_three_hosts();
                command.args([
                    "ip",
                    "netns",
                    "exec",
                    "b",
                    "unshare",
                    "--time",
                    "--monotonic",
                    "5",
                    "--fork",
                    "true",
                ]);
                let why = "this user may not make networks with clocks of their own".to_owned();
                lack(NETWORKS, starts(&mut command), why)
            }
            Self::Module(module) => {
                let import = format!("import {module}");
                let there = starts(Command::new(python()).args(["-c", &import]));
                let why = format!("{} has no `{module}`; run `./run test`", python().display());
                lack(&format!("Python's {module}"), there, why)
            }
        }
    }
}

/// Whether a program can be started; some end with 1 after they have shown their help.
fn starts(command: &mut Command) -> bool {
    let help = command.get_args().any(|arg| arg == "--help");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success() || help)
}

/// Python with the modules of `interop/requirements.txt`, which `harness/tests/setup` installs.
pub(crate) fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.map(Path::to_owned).unwrap_or_default().join(".tools/interop/bin/python")
}

/// Says what was left out and which command changes that. Other test programs may
/// run after this one and write more lines, so it is kept for `./run test`, too.
/// `ignored` tests were not run, for either reason.
pub(crate) fn tell(ignored: u64) -> Result<()> {
    tell_times();
    let told = crate::documented::told();
    if !told.is_empty() {
        eprintln!("Commands of the documentation that were not run as they stand:\n\n{told}");
    }
    let left_out = LEFT_OUT.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-tested");
    let apart = ignored.saturating_sub(left_out.values().sum::<usize>() as u64);
    if apart > 0 {
        eprintln!(
            "Left to `./run prove`, because they take long or need the machine for themselves: {apart}."
        );
    }
    let line = line(&left_out, std::env::var("LAB_SETUP").is_ok_and(|setup| setup == "none"), is_root());
    if let Some(line) = &line {
        eprintln!("{line}");
    }
    tell_failures();
    std::fs::write(&kept, line.map_or_else(String::new, |line| line + "\n"))
        .with_context(|| format!("cannot write {}", kept.display()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn line(left_out: &BTreeMap<String, usize>, unwanted: bool, root: bool) -> Option<String> {
    let tests = match left_out.values().sum() {
        0 => return None,
        1 => "1 test".to_owned(),
        several => format!("{several} tests"),
    };
    let lacks: Vec<String> = left_out.iter().map(|(what, count)| format!("{what} ({count})")).collect();
    let remedy = match (unwanted, root) {
        (true, _) => "`./run test` without LAB_SETUP=none installs that",
        (false, true) => "`./run test` installs that",
        (false, false) => {
            "`./run test` installs what needs no administrator, `sudo harness/tests/setup` the rest"
        }
    };
    Some(format!("Not tested: {tests}, for lack of {}; {remedy}.", lacks.join(", ")))
}

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        crate::trial("needs::the_last_line_says_what_was_not_tested", says),
        crate::trial("needs::there_is_no_other_way_to_leave_a_test_out", only_way),
        crate::trial("needs::labs_that_are_often_tested_exist_for_each_broker", often_exist),
    ]
}

fn only_way() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let (mut next, mut seen) = (vec![here.clone()], 0);
    while let Some(path) = next.pop() {
        if path.is_dir() {
            next.extend(std::fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|found| found == "rs") && path != here.join("needs.rs") {
            let text = std::fs::read_to_string(&path)?;
            for word in ["with_ignored_flag", "ignorable_test", "var(\"CI\")", "var_os(\"CI\")"] {
                ensure!(!text.contains(word), "{} has `{word}`; use `needs`", path.display());
            }
            seen += 1;
        }
    }
    ensure!(seen > 50, "only {seen} files were looked at");
    Ok(())
}

fn says() -> Result<()> {
    let lacks =
        |list: &[(&str, usize)]| list.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
    for (left_out, unwanted, root, expected) in [
        (lacks(&[]), false, true, None),
        (
            lacks(&[("nats", 1)]),
            false,
            true,
            Some("Not tested: 1 test, for lack of nats (1); `./run test` installs that."),
        ),
        (
            lacks(&[("chromedriver", 10), ("rabbitmq", 20)]),
            true,
            false,
            Some(
                "Not tested: 30 tests, for lack of chromedriver (10), rabbitmq (20); `./run test` without LAB_SETUP=none installs that.",
            ),
        ),
    ] {
        let said = line(&left_out, unwanted, root);
        ensure!(said.as_deref() == expected, "{said:?}, not {expected:?}");
    }
    Ok(())
}
