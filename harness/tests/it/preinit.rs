//! `lab preinit`: what was asked before anybody was there is asked when
//! somebody is, in order, and nothing waits without a bound or for ever.

use anyhow::{Result, ensure};
use harness::roles::handles;
use labs::catalog::Pattern;
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::needs::{needs, proof};
use crate::program::run;
use crate::trial;

/// Over every lab there is; that of STOMP would start one more RabbitMQ twice.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("preinit::what_cannot_be_is_said", usage)];
    for handle in handles().into_iter().filter(|handle| handle.entry.pattern == Pattern::RequestReply) {
        let (over, broker) = (handle.entry.name.replace("reqrep-", ""), handle.entry.broker);
        if matches!(over.as_str(), "inproc" | "stomp") {
            continue;
        }
        let name = format!("preinit::{over}::what_was_asked_early_is_answered_in_order");
        let test = move || plays(&over, broker);
        let trial = needs(broker, &name, test);
        // RabbitMQ takes long to start.
        trials.push(if broker == Some(Broker::RabbitMq) { proof(trial) } else { trial });
    }
    trials
}

fn usage() -> Result<()> {
    run(&["preinit", "--over", "reddis"])?.expect(2)?.told(&["did you mean `redis`?"])?;
    run(&["preinit", "--over", "inproc"])?.expect(2)?.told(&["`inproc`"])?;
    let own = run(&["preinit", "--url", "redis=redis://127.0.0.1:1"])?;
    own.expect(2)?.told(&["leave out --url redis="])
}

fn plays(over: &str, broker: Option<Broker>) -> Result<()> {
    let ran = run(&["preinit", "--over", over, "--json"])?.expect(0)?;
    let lines: Vec<Value> = ran.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let at = |what: &str| -> Vec<usize> {
        lines.iter().enumerate().filter(|(_, line)| line["what"] == what).map(|(at, _)| at).collect()
    };
    let of = |what: &str, field: &str| -> Vec<&Value> {
        at(what).into_iter().map(|at| &lines[at][field]).collect()
    };

    ensure!(of("refused", "request") == ["request 5"], "the queue has no bound:\n{}", ran.out);
    ensure!(of("expired", "request") == ["request 4"], "no deadline while it waits:\n{}", ran.out);
    let connecting = at("connecting");
    ensure!(connecting.len() == 1 && lines[connecting[0]]["waiting"] == 3, "three should wait:\n{}", ran.out);
    let failed = lines[connecting[0]]["failed"].as_u64();
    ensure!(broker.is_none() || failed >= Some(2), "it has not tried again:\n{}", ran.out);
    let received = of("received", "request");
    ensure!(received == ["request 1", "request 2", "request 3"], "not in order: {received:?}");
    ensure!(of("replied", "request").len() == 3, "not all are answered:\n{}", ran.out);
    ensure!(at("received")[0] > at("responder")[0], "answered before anybody was there:\n{}", ran.out);
    let state = &lines[at("state")[0]];
    ensure!(state["connected"] == true && state["waiting"] == 0, "{state}");
    Ok(())
}
