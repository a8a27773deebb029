//! What a queue has confirmed is kept when its broker is killed.

use anyhow::{Context as _, Result};
use labs::queue::{Consumer as _, Queue};

use super::place::{Site, own};
use super::queue::{Out, PREFETCH, attempts};
use super::stream::{Tx as _, message};

/// What was confirmed survives kill -9 of the broker.
pub(super) async fn durable<L: Queue>(site: Site) -> Result<()> {
    survives::<L>(site, true).await
}

/// As [`durable`]; a broker without its durable settings is one that must fail.
pub(super) async fn survives<L: Queue>(site: Site, settings: bool) -> Result<()> {
    let broker = L::BROKER.context("a lab without a broker has none to kill")?;
    let (mut server, dir) = own(broker, settings).await?;
    let there = site.moved_to(&server).claiming_soon();
    let lab = L::open(&there.place()).await?;
    let mut tx = Out::new::<L>(lab.producer().await?);
    let bodies = (0..1_000).map(|number| message(number, 64)).collect();
    there.soon("all is confirmed", tx.put(bodies)).await?;
    server.restart().await?;
    drop((tx, lab));
    let lab = L::open(&there.place()).await?;
    let mut consumer = lab.consumer(PREFETCH).await?;
    let came = attempts(&there, &mut consumer, 0..1_000).await;
    came.context("confirmed before kill -9")?;
    consumer.close().await?;
    server.stop().await?;
    drop(dir);
    Ok(())
}
