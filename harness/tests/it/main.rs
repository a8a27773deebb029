//! The integration tests, as one program.

mod addresses;
mod agree;
mod breaking;
mod bridge;
mod brokers;
mod browser;
mod chat;
mod checked;
mod cli;
mod conformance;
mod correlation;
mod costs;
mod course;
mod crack;
mod dead;
mod documented;
mod examples;
mod failures;
mod floors;
mod guard;
mod history;
mod hops;
mod interop;
mod kubernetes;
mod live;
mod loads;
mod needs;
mod play;
mod predict;
mod preinit;
mod program;
mod publish;
mod recipes;
mod regress;
mod remote;
mod report;
mod result_sets;
mod resume;
mod return_address;
mod scenarios;
mod selftest;
mod share;
mod shell;
mod status;
mod story;
mod tidy;
mod try_it;
mod view;
mod views;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
// The fixtures of the report's own tests are used here, too, and say `crate::`.
use harness::{results, stats};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    // Roles are processes of this program, as they are of `lab`.
    if std::env::args().nth(1).as_deref() == Some("role") {
        return match harness::roles::main(&conformance::handles()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    // So is the broker that this program can hold.
    #[cfg(feature = "embedded-mqtt")]
    if std::env::args().nth(1).as_deref() == Some(harness::broker::embedded::COMMAND) {
        return harness::cli::main();
    }
    let mut args = Arguments::from_args();
    // Most tests wait for a broker or a process most of their time.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Those that are left to `./run prove` have much to do, and many start a broker of their own.
    args.test_threads.get_or_insert(if args.ignored { 2 * cores } else { 4 * cores });
    // What takes longest begins first.
    let trials = [
        brokers::trials(),
        addresses::trials(),
        report::trials(),
        resume::trials(),
        chat::trials(),
        story::trials(),
        course::trials(),
        breaking::trials(),
        scenarios::trials(),
        failures::trials(),
        bridge::trials(),
        return_address::trials(),
        status::trials(),
        play::trials(),
        preinit::trials(),
        views::trials(),
        agree::trials(),
        share::trials(),
        remote::trials(),
        kubernetes::trials(),
        crack::trials(),
        dead::trials(),
        predict::trials(),
        conformance::trials(),
        interop::trials(),
        examples::trials(),
        tidy::trials(),
        recipes::trials(),
        documented::trials(),
        try_it::trials(),
        needs::trials(),
        cli::trials(),
        guard::trials(),
        correlation::trials(),
        result_sets::trials(),
        publish::trials(),
        regress::trials(),
        shell::trials(),
        checked::trials(),
        costs::trials(),
        history::trials(),
        hops::trials(),
        live::trials(),
        view::trials(),
    ];
    let began = Instant::now();
    let conclusion = libtest_mimic::run(&args, trials.into_iter().flatten().collect());
    // Beside other tests these would measure them: a rate that is found, a distribution that is
    // known. They come last, one after the other; most are left to `./run prove`.
    let measuring = [floors::trials(), loads::trials(), selftest::trials(), documented::measuring()];
    args.test_threads = Some(1);
    let measured = libtest_mimic::run(&args, measuring.into_iter().flatten().collect());
    conformance::end();
    if !args.list {
        let told = needs::tell(conclusion.num_ignored + measured.num_ignored);
        if let Err(error) = told.and_then(|()| needs::tell_proofs(began.elapsed())) {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    }
    if conclusion.has_failed() { conclusion.exit_code() } else { measured.exit_code() }
}

/// A trial whose error is shown with all its causes.
fn trial(name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    let called = name.to_owned();
    Trial::test(name, move || needs::timed(&called, test))
}

/// Waits for a condition, not for a time; gives up after three minutes, which only
/// a test that fails ever takes.
fn wait_until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !condition()? {
        if Instant::now() > deadline {
            bail!("gave up waiting until {what}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The program under test, with nothing of the tester's own terminal in it.
fn lab(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(args).stdin(std::process::Stdio::null());
    command.env_remove("CI").env_remove("COLUMNS").env_remove("LAB_GUARD").env_remove("LAB_INVOKED");
    command
}
