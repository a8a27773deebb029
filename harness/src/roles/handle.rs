//! A handle runs a lab's roles without knowing the lab's type.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use labs::catalog;
use labs::erased::QueueLab;
use labs::lab::{Place, Registry};
use tokio::sync::mpsc;

use super::protocol::{FromRole, Init, ToRole};

/// Runs one role of one lab; made from the lab's type, called once a run.
pub type RoleFn = fn(Init, mpsc::UnboundedReceiver<ToRole>, Outbox, Arc<Registry>) -> Result<()>;
/// Removes what a lab has left in the broker; the durable subscribers of these
/// names, too.
pub type RemoveFn = fn(&Place, &[String]) -> Result<()>;

/// Where a role's lines go.
pub type Outbox = Arc<dyn Fn(FromRole) + Send + Sync>;

/// How to run a lab without knowing its type.
#[derive(Clone)]
pub struct Handle {
    /// Its entry in the catalog.
    pub entry: catalog::Entry,
    /// Runs a role.
    pub run: RoleFn,
    /// Cleans up.
    pub remove: RemoveFn,
    /// Most publishers, where there is a limit.
    pub publishers: Option<usize>,
    /// A raw-socket baseline and no lab.
    pub baseline: bool,
    /// Its roles keep an account of every message; else they only count.
    pub accounts: bool,
    /// A queue lab, for those who look at its dead letters.
    pub queue: Option<QueueLab>,
}

impl Handle {
    /// A lab that the catalog knows and this build does not have.
    pub(super) fn not_built_in(entry: catalog::Entry) -> Self {
        let run: RoleFn = |init, _, outbox, _| {
            let error = anyhow::anyhow!("{} is not in this build of `lab`", init.lab);
            outbox(FromRole::Failed { error: error.to_string() });
            Err(error)
        };
        Self {
            entry,
            run,
            remove: |_, _| Ok(()),
            publishers: None,
            baseline: false,
            accounts: true,
            queue: None,
        }
    }
}

/// Namespaces to addresses, as [`ToRole::Peers`] carries them.
pub type Peers = BTreeMap<String, Vec<String>>;
