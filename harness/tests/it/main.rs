//! The integration tests, as one program.

mod conformance;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    // Roles are processes of this program, as they are of `lab`.
    if std::env::args().nth(1).as_deref() == Some("role") {
        return match harness::role::main(&harness::role::handles()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let args = Arguments::from_args();
    let trials = [conformance::trials()].into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&args, trials);
    conformance::end();
    conclusion.exit_code()
}
