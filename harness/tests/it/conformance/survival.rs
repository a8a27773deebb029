//! Whoever says `Durable` is killed: the broker of every such lab gets a
//! SIGKILL after it has confirmed, and is started again on the same data.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use labs::catalog::Pattern;
use labs::lab::{Guarantee, Lab};

use super::Promise;
use super::place::{Site, own};
use super::stream::{Stream, Tx as _, message, take};

/// Messages that have to survive.
const CONFIRMED: u64 = 1_000;
/// How the names of checks end that kill whoever answers for the messages.
const KILLS: [&str; 3] = ["survives", "durable", "producer_killed"];

/// The check of a lab that says `Durable`; none of another.
pub(super) fn promises<S: Stream>(prefix: &str) -> Vec<Promise> {
    if S::Lab::GUARANTEE < Guarantee::Durable || S::Lab::BROKER.is_none() {
        return Vec::new();
    }
    vec![Promise::of::<S::Lab, _>(&format!("{prefix}survives"), |site| survives::<S>(site, true))]
}

/// What was flushed survives kill -9 of the broker, though nobody had taken it
/// yet. A broker without its durable settings is one that must fail.
pub(super) async fn survives<S: Stream>(site: Site, settings: bool) -> Result<()> {
    let broker = S::Lab::BROKER.context("a lab without a broker has none to kill")?;
    let (mut server, dir) = own(broker, settings).await?;
    let there = site.moved_to(&server).claiming_soon();
    let (mut tx, rx) = S::join(&there.place()).await?;
    let put = async {
        tx.put((0..CONFIRMED).map(|number| message(number, 64)).collect()).await?;
        tx.flush().await
    };
    there.soon("all is confirmed", put).await?;
    server.restart().await?;
    drop((tx, rx));
    let (_tx, mut rx) = S::join(&there.place()).await.context("after the restart")?;
    let mut missing: BTreeSet<u64> = (0..CONFIRMED).collect();
    while !missing.is_empty() {
        let came = there.soon("a message comes", take(&mut rx)).await;
        let came = came.with_context(|| format!("{} messages have not come", missing.len()));
        missing.remove(&came.context("confirmed before kill -9")?);
    }
    drop(rx);
    server.stop().await?;
    drop(dir);
    Ok(())
}

/// Whether the check kills the process that is responsible for the messages.
pub(super) fn kills(promise: &Promise) -> bool {
    KILLS.iter().any(|end| promise.name.ends_with(end))
}

/// A lab that says `Durable` has a check that kills.
pub(super) fn is_put_to_the_test<L: Lab>(pattern: Pattern, promises: &[Promise]) -> Result<()> {
    let killed = promises.iter().any(kills);
    ensure!(
        L::GUARANTEE < Guarantee::Durable || killed,
        "a {pattern} lab says that its guarantee is durable, and no check kills what holds its messages"
    );
    Ok(())
}
