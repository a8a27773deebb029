//! A second look into the store. When messages stay away, receivers ask once more, over new
//! connections, for what has not come: what they do not get either is lost. Where they cannot
//! look, nobody can tell.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use labs::catalog::Pattern;

use super::reconcile::{Ending, reconcile};
use super::spec::{Spec, receivers};
use crate::measure::clock;
use crate::results::Load;
use crate::roles::LEAVE;
use crate::roles::protocol::{FromRole, Init, Measure, ToRole};
use crate::supervisor::{Heard, Roles};

/// How long they may take to join.
const JOIN: Duration = Duration::from_secs(10);
/// How long nothing must come before the store counts as empty: longer than the leases
/// after which labs deliver again what a consumer held.
const QUIET: u64 = 4 * clock::SECOND;
/// Between two looks at the account.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether messages of this trial can wait in a store that outlives its roles.
pub(crate) fn has_store(spec: &Spec) -> bool {
    let entry = &spec.handle.entry;
    matches!(entry.pattern, Pattern::Queue | Pattern::Durable)
        && spec.handle.accounts
        && (entry.broker.is_some() || spec.placement.threads)
}

/// Starts the trial's receivers once more, with the accounts they had, and takes what comes:
/// how many messages that was. `inits` are those of all roles.
///
/// # Errors
/// When they cannot join or go on: then nothing is known of the store.
pub(crate) async fn look_again(spec: &Spec, inits: &[Init], accounts: &Path) -> Result<u64> {
    let (kind, all) = receivers(spec);
    // Consumers share the messages: one of them gets all. Each subscriber has its own.
    let count = if spec.handle.entry.pattern == Pattern::Queue { 1 } else { all };
    let inits = inits.iter().filter(|init| init.kind == kind && init.index < count).cloned().map(|init| {
        let measure = init.measure.map(|measure| Measure {
            load: Load::max(),
            warmup_ns: 0,
            measure_ns: 0,
            record: false,
            ..measure
        });
        Init { measure, ..init }
    });
    let missing = || reconcile(spec, accounts, Ending::Drained).map(|account| account.counts.lost);
    let before = missing()?;
    let mut roles = Roles::start(&spec.handle, inits.collect(), spec.placement.clone())?;
    let looked = look(&mut roles, spec, accounts).await;
    let complaints = roles.shut_down(Duration::from_nanos(LEAVE)).await;
    looked?;
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(before.saturating_sub(missing()?))
}

async fn look(roles: &mut Roles, spec: &Spec, accounts: &Path) -> Result<()> {
    roles.gather(JOIN).await?;
    roles.tell_all(&ToRole::Go { start: clock::now() });
    let (mut last, mut last_move) = (None, clock::now());
    loop {
        tokio::select! {
            (number, heard) = roles.hear() => match heard {
                Heard::Line(FromRole::Failed { error }) => bail!("{}: {error}", roles.all[number].name),
                Heard::Left(_) => bail!("{} left", roles.all[number].name),
                Heard::Line(_) | Heard::Remote(_) => {}
            },
            () = tokio::time::sleep(PAUSE) => {}
        }
        let counts = reconcile(spec, accounts, Ending::Drained)?.counts;
        let came = Some(counts.received + counts.duplicated + counts.redelivered);
        if came != last {
            (last, last_move) = (came, clock::now());
        }
        if counts.lost == 0 || clock::now() - last_move > QUIET {
            return Ok(());
        }
    }
}
