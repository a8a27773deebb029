//! What is left in a NATS server when a lab was used and removed.

use std::time::Duration;

use anyhow::{Result, ensure};
use async_nats::client::RequestErrorKind::NoResponders;

use super::place::Site;

/// No stream and no consumer, and nobody who listens to what is the place's.
pub(super) async fn nothing_left(site: &Site) -> Result<()> {
    let client = async_nats::connect(site.url()?).await?;
    // The crate's own question does not understand what older servers answer.
    let account = client.request("$JS.API.INFO", "".into()).await?;
    let account: serde_json::Value = serde_json::from_slice(&account.payload)?;
    for kind in ["streams", "consumers"] {
        ensure!(account[kind] == 0, "{kind} that stay in JetStream: {}", account[kind]);
    }
    let place = site.place();
    let parts =
        ["tasks", "results", "control", "it", "control.stop"].map(|part| place.namespace(part).name());
    for subject in std::iter::once(place.name()).chain(parts) {
        let gone = async {
            // NATS says at once when nobody listens; a listener would not answer.
            let ask = || {
                tokio::time::timeout(Duration::from_millis(20), client.request(subject.clone(), "".into()))
            };
            while !matches!(ask().await, Ok(Err(error)) if error.kind() == NoResponders) {}
            Ok(())
        };
        site.soon(&format!("all who listened to {subject} leave NATS"), gone).await?;
    }
    Ok(())
}
