//! Queue: a consumer is killed with a delivery that it has not acknowledged.

use std::time::Duration;

use anyhow::Result;
use labs::catalog::Particular;
use labs::queue::Confirmed;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    let producer = scenario.enter(Kind::Producer, 0, None).await?;
    let words = ["one", "two", "three"];
    let confirmed = |scenario: &Scenario<'_>| scenario.of("producer-0", What::Confirmed).len();
    let stored = scenario.handle.entry.particular == Particular::Confirmed(Confirmed::Stored);
    if stored {
        for word in words {
            scenario.say(producer, word, None).await;
        }
        scenario.wait(|scenario| confirmed(scenario) >= words.len()).await;
        scenario.conclude(&format!(
            "{} of {} confirmed: the queue is responsible for them, before any consumer has joined.",
            confirmed(scenario),
            words.len()
        ));
    } else {
        for word in words {
            scenario.hold().await;
            scenario.direct("producer-0", &format!("sends {word}"));
            scenario.say_quietly(producer, word, None);
        }
    }
    let first = scenario.enter(Kind::Consumer, 0, None).await?;
    scenario.wait(|scenario| scenario.of("consumer-0", What::Received).len() >= 2).await;
    scenario.act(first, RoleCommand::Ack, "acknowledges the first message and holds the second").await;
    scenario.wait(|scenario| !scenario.of("consumer-0", What::Acked).is_empty()).await;
    if !scenario.gone("consumer-0") {
        scenario.direct("consumer-0", "is killed with SIGKILL");
        scenario.roles.kill(first)?;
        scenario.wait(|scenario| scenario.gone("consumer-0")).await;
    }
    if !stored {
        // A confirmation on its way when the consumer died is still one.
        scenario.wait_for(Duration::from_secs(1), |scenario| confirmed(scenario) > 0).await;
        scenario.conclude(&format!(
            "{} of {} confirmed: the producer is still responsible for the others, and they would be lost \
             with it.",
            confirmed(scenario),
            words.len()
        ));
    }
    let second = scenario.enter(Kind::Consumer, 1, None).await?;
    scenario.act(second, RoleCommand::Auto { work_ms: 0 }, "acknowledges each message").await;
    scenario
        .wait(|scenario| {
            let settled =
                scenario.of("consumer-0", What::Acked).len() + scenario.of("consumer-1", What::Acked).len();
            settled >= words.len() && (stored || confirmed(scenario) >= words.len())
        })
        .await;
    let acked = scenario.of("consumer-0", What::Acked);
    let again: Vec<String> = scenario
        .heard
        .iter()
        .filter(|(role, event)| {
            role == "consumer-1" && event.what == What::Received && event.attempt > Some(1)
        })
        .map(|(_, event)| event.text.to_string())
        .collect();
    let second: Vec<String> = scenario.of("consumer-1", What::Received);
    scenario.conclude(&format!(
        "consumer-0 acknowledged {}; consumer-1 received {}{}.",
        list(&acked),
        list(&second),
        if again.is_empty() {
            String::new()
        } else {
            format!(", of these marked as redelivered: {}", list(&again))
        }
    ));
    if acked.iter().all(|text| !second.contains(text)) && !again.is_empty() {
        scenario.conclude(
            "Acknowledged messages are not delivered again. Unacknowledged messages are, and are marked as \
             redelivered.",
        );
    }
    if !stored {
        scenario.conclude(&format!(
            "{} of {} confirmed, each after a consumer acknowledged it.",
            confirmed(scenario),
            words.len()
        ));
    }
    Ok(())
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}
