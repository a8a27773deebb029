//! Roles are processes that start at the same moment, and each opens the place:
//! whoever comes first makes it, and nobody is turned away.

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use labs::lab::{Broker, Lab};

use super::Site;

/// Who comes at the same moment.
const ROLES: usize = 8;

/// Everybody opens a place that is not there yet, time and again.
pub(super) async fn together<L: Lab>(site: Site) -> Result<()> {
    // Making a queue takes RabbitMQ long.
    let rounds = if L::BROKER == Some(Broker::RabbitMq) { 5 } else { 20 };
    for round in 0..rounds {
        let site = site.clone().called(&format!("{}-{round}", site.place().name()));
        let places: Vec<_> = std::iter::repeat_with(|| site.place()).take(ROLES).collect();
        let opened = join_all(places.iter().map(L::open)).await;
        let removed = L::remove(&site.place()).await.context("cannot remove what was made together");
        let opened: Result<Vec<L>> = opened.into_iter().collect();
        opened.with_context(|| format!("one of {ROLES} who came together was turned away"))?;
        removed?;
    }
    Ok(())
}
