//! Request/reply: two responders of different speed, and how replies find their requests.

use anyhow::Result;
use labs::catalog::Particular;
use labs::reqrep::Matching;

use super::narrator::Scenario;
use crate::roles::protocol::{Kind, RoleCommand, What};

pub(super) async fn run(scenario: &mut Scenario<'_>) -> Result<()> {
    let slow = scenario.enter(Kind::Responder, 0, None).await?;
    let quick = scenario.enter(Kind::Responder, 1, None).await?;
    scenario.act(slow, RoleCommand::Auto { work_ms: 150 }, "takes 150 ms to reply").await;
    scenario.act(quick, RoleCommand::Auto { work_ms: 10 }, "takes 10 ms to reply").await;
    let requester = scenario.enter(Kind::Requester, 0, None).await?;
    let questions = ["who?", "what?", "where?", "why?"];
    for question in questions {
        scenario.say(requester, question, None).await;
    }
    let settled = |scenario: &Scenario<'_>| {
        scenario.of("requester-0", What::Replied).len() + scenario.of("requester-0", What::Failed).len()
    };
    // The requester may report a reply before the responder that it was sent.
    let reported = |scenario: &Scenario<'_>| {
        let sent = ["responder-0", "responder-1"].map(|role| scenario.of(role, What::Replied).len());
        sent.iter().sum::<usize>() >= scenario.of("requester-0", What::Replied).len()
    };
    scenario.wait(|scenario| settled(scenario) >= questions.len() && reported(scenario)).await;
    let mut matched = 0;
    let mut order = Vec::new();
    for (role, event) in &scenario.heard {
        if let ("requester-0", What::Replied, Some(about)) = (role.as_str(), event.what, &event.about) {
            matched += usize::from(event.text.to_string().ends_with(about.as_str()));
            order.push(about.clone());
        }
    }
    let replied = order.len();
    scenario.conclude(&format!(
        "{} requests, {replied} replies; {matched} of the replies matched their requests.",
        questions.len()
    ));
    if replied == questions.len() && order != questions {
        scenario.conclude(
            "The replies came in a different order than the requests. Each reply still matched its request.",
        );
    }
    scenario.conclude(match scenario.handle.entry.particular {
        Particular::Matching(Matching::Lockstep) => {
            "Replies are matched by order: a connection carries one request at a time, so the next reply on \
             it is the answer."
        }
        Particular::Matching(Matching::ReplyAddress) => {
            "Replies are matched by address: each request carries the address for its reply."
        }
        _ => "Replies are matched by a correlation identifier: each reply carries that of its request.",
    });
    Ok(())
}
