//! What is left in a NATS server when a lab was used and removed.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::jetstream;
use async_nats::client::RequestErrorKind::NoResponders;

use super::place::Site;

/// No stream and no consumer, and nobody who listens to what is the place's.
pub(super) async fn nothing_left(site: &Site) -> Result<()> {
    let client = async_nats::connect(site.url()?).await?;
    let account = jetstream::new(client.clone()).query_account().await?;
    let left = (account.streams, account.consumers);
    ensure!(left == (0, 0), "(streams, consumers) that stay in JetStream: {left:?}");
    // The crate's own question does not understand what older servers answer.
    let account = client.request("$JS.API.INFO", "".into()).await?;
    let account: serde_json::Value = serde_json::from_slice(&account.payload)?;
    for kind in ["streams", "consumers"] {
        ensure!(account[kind] == 0, "{kind} that stay in JetStream: {}", account[kind]);
    }
    let place = site.place();
    let parts = ["tasks", "results", "control", "it", "control.stop"].map(|part| place.part(part).name());
    for subject in std::iter::once(place.name()).chain(parts) {
        let gone = async {
            // NATS says at once when nobody listens; a listener would not answer.
            let ask = || {
                tokio::time::timeout(Duration::from_millis(20), client.request(subject.clone(), "".into()))
            };
            while !matches!(ask().await, Ok(Err(error)) if error.kind() == async_nats::client::RequestErrorKind::NoResponders)
            {
            }
            while !matches!(ask().await, Ok(Err(error)) if error.kind() == NoResponders) {}
            Ok(())
        };
        site.soon(&format!("all who listened to {subject} leave NATS"), gone).await?;
    }
    Ok(())
}
