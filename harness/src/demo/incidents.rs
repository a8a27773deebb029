//! Says on stderr what an application's role has skipped, and whom it has disconnected.

use std::time::Duration;

use anyhow::Result;
use labs::apps::chat::instance::thread;
use labs::lab::Place;

/// A flood of incidents is a line in this time.
const AGAIN: Duration = Duration::from_secs(1);

/// Tells whenever the counts of the place's role have grown, in a thread of its own that lives as
/// long as the process.
pub(super) fn tell(place: &Place) -> Result<()> {
    let place = place.clone();
    thread("incidents", || async move {
        let mut counts = place.incidents().watch();
        while counts.changed().await.is_ok() {
            let now = counts.borrow_and_update().clone();
            let (who, latest) = (place.role(), now.latest.unwrap_or_default());
            let (skipped, disconnected) = (now.messages_skipped, now.peers_disconnected);
            errln!("{who}: {skipped} messages skipped, {disconnected} peers disconnected; {latest}");
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    })
    .map(drop)
}
