//! What interrupted runs have left in the user's own brokers.
//!
//! A run that is interrupted is dropped wherever it is. What it has made in a private broker goes
//! with the broker; what it has made in the user's own is noted here before it is made, and
//! removed afterwards.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use labs::lab::{BrokerAddress, Place};
use labs::printable::causes;

use crate::process;
use crate::roles::Handle;

/// How long the roles of a dropped run may take to end: they have been killed.
const ENDING: Duration = Duration::from_secs(2);

/// One run's place in a broker.
#[derive(Clone)]
struct Leftover {
    handle: Handle,
    name: String,
    address: BrokerAddress,
    subscribers: Vec<String>,
}

static NOTED: Mutex<Vec<Leftover>> = Mutex::new(Vec::new());

fn noted() -> MutexGuard<'static, Vec<Leftover>> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what a run is about to make; [`done`] takes it out again.
pub(crate) fn note(handle: &Handle, name: &str, address: Option<&BrokerAddress>, subscribers: Vec<String>) {
    let Some(address) = address.cloned() else { return };
    noted().push(Leftover { handle: handle.clone(), name: name.to_owned(), address, subscribers });
}

/// The run with this name has removed what it made, or has tried to and has said so.
pub(crate) fn done(name: &str) {
    noted().retain(|leftover| leftover.name != name);
}

/// Removes what the run has left in the broker, with its durable subscribers. It has a runtime of its own,
/// as every removal of a lab.
pub async fn remove(
    handle: &Handle,
    name: &str,
    address: Option<&BrokerAddress>,
    subscribers: Vec<String>,
) -> Result<()> {
    let (remove, place) = (handle.remove, Place::new(name, address));
    let removal = tokio::task::spawn_blocking(move || remove(&place, &subscribers));
    match tokio::time::timeout(Duration::from_secs(10), removal).await {
        Ok(done) => done?,
        Err(_) => bail!("removing it took longer than 10 s"),
    }
}

/// Removes what is noted from brokers that still run, and returns a line for people about each
/// broker that something stays in.
pub(crate) async fn remove_all() -> Vec<String> {
    let all = std::mem::take(&mut *noted());
    if all.is_empty() {
        return Vec::new();
    }
    // A role that still runs would make it again.
    let deadline = tokio::time::Instant::now() + ENDING;
    let own = std::process::id();
    while process::tree(&[own]).len() > 1 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut stays = Vec::new();
    for Leftover { handle, name, address, subscribers } in all {
        if let Err(error) = remove(&handle, &name, Some(&address), subscribers).await {
            let why = address.without_secrets(&causes(&error));
            stays.push(format!("what {} calls `{name}…` stays in {}: {why}", handle.entry.name, address));
        }
    }
    stays
}
