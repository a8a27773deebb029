//! One-way: what the sender learns, and whether a receiver that joins last misses
//! messages.

use anyhow::Result;
use labs::lab::Overload;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    let stores = scenario.handle.entry.overload == Overload::Stores;
    if !stores {
        scenario.enter(Kind::Receiver, 0, None).await?;
    }
    let sender = scenario.enter(Kind::Sender, 0, None).await?;
    let words = ["one", "two", "three"];
    for word in words {
        scenario.say(sender, word, None).await;
        scenario.wait(|scenario| scenario.count("sender-0", What::Written, word) > 0).await;
    }
    if stores {
        scenario.enter(Kind::Receiver, 0, None).await?;
    }
    scenario.wait(|scenario| scenario.of("receiver-0", What::Received).len() >= words.len()).await;
    let (written, received) =
        (scenario.of("sender-0", What::Written), scenario.of("receiver-0", What::Received));
    scenario.conclude(&format!(
        "{} written, {} received{}.",
        written.len(),
        received.len(),
        in_order(&written, &received)
    ));
    if stores && received.len() == written.len() {
        scenario.conclude(
            "The receiver joined last and missed nothing: the broker stored the messages until then.",
        );
    }
    scenario.conclude(
        "The sender does not learn what was received: with one-way messages, nothing comes back from the \
         receiver.",
    );
    Ok(())
}

/// Compares the order of the received messages with that of the written ones.
fn in_order(written: &[String], received: &[String]) -> &'static str {
    match () {
        () if written == received => ", in the same order",
        () if written.len() == received.len() => ", in another order",
        () => "",
    }
}
