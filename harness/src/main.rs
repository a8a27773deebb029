//! `lab`: the command line of the messaging lab.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::cli::main()
}
