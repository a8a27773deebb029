//! Stand-in for commands that are not in this build, so that `lab --help` is the same in
//! every build.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::Usage;

/// Whatever is typed after a command that is not here.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Anything {
    fn refuse(&self, command: &str) -> Result<ExitCode> {
        let rest: String = self.rest.iter().map(|word| format!(" {word}")).collect();
        bail!(Usage(format!(
            "this build of `lab` has no command `{command}`, because it was built for one transport; `./run \
             {command}{rest}` builds what is needed"
        )))
    }
}

macro_rules! without {
    ($($command:ident $args:ident),*) => {$(
        pub(super) mod $command {
            pub(crate) use $crate::cli::without::Anything as $args;
            pub(crate) fn main(args: &$args) -> anyhow::Result<std::process::ExitCode> {
                args.refuse(stringify!($command))
            }
        }
    )*};
}
#[cfg(not(feature = "apps"))]
without!(
    chat ChatArgs, correlation CorrelationArgs, crack CrackArgs, preinit PreinitArgs, status StatusArgs
);
#[cfg(not(all(feature = "apps", feature = "rabbitmq", feature = "mqtt", feature = "stomp")))]
without!(bridge BridgeArgs);
