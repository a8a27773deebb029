//! Durable subscriber: events published while the subscriber is away.

use anyhow::Result;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    let publisher = scenario.enter(Kind::Publisher, 0, None).await?;
    let subscriber = scenario.enter(Kind::Subscriber, 0, None).await?;
    scenario.act(subscriber, RoleCommand::Auto { work_ms: 0 }, "acknowledges each event").await;
    scenario.say(publisher, "rain", Some("news.weather")).await;
    scenario.wait(|scenario| scenario.count("subscriber-0", What::Acked, "rain") > 0).await;
    scenario.leave(subscriber).await?;
    for word in ["one nil", "two nil"] {
        scenario.say(publisher, word, Some("news.sport")).await;
        scenario.wait(|scenario| scenario.count("publisher-0", What::Written, word) > 0).await;
    }
    let back = scenario.enter(Kind::Subscriber, 0, None).await?;
    scenario.act(back, RoleCommand::Auto { work_ms: 0 }, "acknowledges each event").await;
    scenario.wait(|scenario| scenario.count("subscriber-0", What::Acked, "two nil") > 0).await;
    let heard = |text: &str| scenario.count("subscriber-0", What::Received, text);
    let (before, away, after) = (heard("rain"), heard("one nil"), heard("two nil"));
    scenario.conclude(&format!(
        "subscriber-0 received {before} event while it was connected, and {} of the 2 events published while \
         it was away.",
        usize::from(away > 0) + usize::from(after > 0)
    ));
    if before == 1 && away == 1 && after == 1 {
        scenario.conclude("Each event was delivered once: an acknowledged event is not delivered again.");
    }
    Ok(())
}
