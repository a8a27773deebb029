//! The transport of an application, and the reason why it does not run over another one.

use anyhow::{Result, bail};
use clap::Args;
use labs::catalog::{self, Pattern};

use super::usage::Usage;
use crate::{hint, plan};

/// The transport of an application: `chat redis`, or `chat --over redis`.
#[derive(Debug, Clone, Args)]
pub(crate) struct OverArgs {
    /// The transport, as in `redis`, `rabbitmq` or `nats`; a wrong name lists the valid ones
    #[arg(value_name = "TRANSPORT")]
    transport: Option<String>,
    /// The same as TRANSPORT
    #[arg(long, value_name = "TRANSPORT")]
    over: Option<String>,
}

impl OverArgs {
    /// The transport that was named, once or twice; `usual` where none was.
    pub(crate) fn name<'a>(&'a self, usual: Option<&'a str>) -> Result<&'a str> {
        match (self.transport.as_deref(), self.over.as_deref()) {
            (Some(plain), Some(over)) if plain != over => {
                bail!(Usage(format!("`{plain}` and `--over {over}` are two transports; give one of them")))
            }
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => usual.ok_or_else(|| {
                anyhow::Error::new(Usage(format!(
                    "no transport given; name one, as in `{}`",
                    hint::command(&["chat", "redis"])
                )))
            }),
        }
    }
}

/// The transports of a pattern's labs that an application can use, with their variants,
/// whether they are built in or not.
pub(crate) fn transports(pattern: Pattern, usable: impl Fn(&catalog::Entry) -> bool) -> Vec<String> {
    let labs = catalog::entries().into_iter().filter(|lab| lab.pattern == pattern && usable(lab));
    labs.map(|lab| lab.name.trim_start_matches(pattern.as_str()).trim_start_matches('-').to_owned()).collect()
}

/// Why an application does not run over a transport: this build lacks it, or there is none
/// of this name among `known`.
pub(crate) fn no_transport(application: &str, name: &str, known: &[String]) -> anyhow::Error {
    if known.iter().any(|known| known == name) {
        return Usage(format!(
            "`{name}` is not in this build of `lab`; start it with `./run`, which builds what a command needs"
        ))
        .into();
    }
    let near = plan::nearest(name, known.iter().map(String::as_str));
    let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    Usage(format!("{application} does not run over `{name}`; {hint}It runs over {}", known.join(", "))).into()
}
