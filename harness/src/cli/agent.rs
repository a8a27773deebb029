//! `lab agent`: the other side of a role that is started elsewhere; over stdin and stdout, or over TCP.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::command::usage;
use crate::process::guard;
use crate::supervisor::remote::{self, Token};

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// Serve agents at this address, HOST:PORT, to those who know the token in LAB_TOKEN
    #[arg(long, value_name = "ADDRESS", conflicts_with = "dial", hide = true)]
    serve: Option<String>,
    /// Carry stdin and stdout to an agent that is served at this address
    #[arg(long, value_name = "ADDRESS", hide = true)]
    dial: Option<String>,
    /// What a launcher is followed by: the command on the other side, which runs there already
    #[arg(requires = "dial", trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    behind: Vec<String>,
}

pub(super) fn main(args: &AgentArgs) -> Result<ExitCode> {
    match (&args.serve, &args.dial) {
        (Some(address), _) => remote::serve(address, &usage(Token::from_environment())?)?,
        (None, Some(address)) => remote::dial(address, &usage(Token::from_environment())?)?,
        (None, None) => {
            guard::enter()?;
            remote::agent()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
