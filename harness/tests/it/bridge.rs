//! `lab bridge`: what went in over MQTT comes out of every leg, and what the
//! broker made of its quality of service is told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::needs::needs;
use crate::program::run;

pub(crate) fn trials() -> Vec<Trial> {
    vec![needs(Broker::RabbitMq, "bridge::every_leg_gets_everything", crosses)]
}

fn crosses() -> Result<()> {
    let ran = run(&["bridge", "--json"])?.expect(0)?;
    let lines: Vec<Value> = ran.out.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |what: &str, leg: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["what"] == what && line["leg"] == leg).collect()
    };

    let joined = of("joined", "mqtt");
    ensure!(joined.len() == 1, "MQTT joined {} times", joined.len());
    ensure!(joined[0]["qos_asked"] == 2 && joined[0]["qos_given"] == 1, "SUBACK: {}", joined[0]);
    let published = of("published", "mqtt");
    ensure!(published.len() == 3, "{} events were published", published.len());
    for event in &published {
        let lowered = event["qos_asked"] == 2 && event["qos_given"] == 1 && event["answer"] == "PUBACK";
        ensure!(lowered, "the lowered QoS is not told: {event}");
    }

    let sent: Vec<&Value> = published.iter().map(|event| &event["text"]).collect();
    for leg in ["mqtt", "amqp", "stomp"] {
        // How often each came, and how often it said that it had come before.
        let mut came: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for event in of("arrived", leg) {
            let (times, again) = came.entry(event["text"].to_string()).or_default();
            *times += 1;
            *again += u32::from(event["redelivered"].as_bool().context("no mark")?);
        }
        let refused = of("nacked", leg).len() as u32;
        ensure!(refused == u32::from(leg != "mqtt"), "{leg} refused {refused} events");
        for (at, text) in sent.iter().enumerate() {
            // Whoever refuses refuses the first, which comes again and says so.
            let again = if at == 0 { refused } else { 0 };
            let expected = Some((1 + again, again));
            let times = came.get(&text.to_string()).copied();
            ensure!(times == expected, "{text} came to {leg} {times:?} times, {expected:?} were due");
        }
        ensure!(came.len() == sent.len(), "{leg} got what nobody had published: {came:?}");
        let acked = of("acked", leg).len();
        ensure!(leg == "mqtt" || acked == sent.len(), "{leg} acked {acked} events");
    }
    // On the AMQP leg the broker says itself what it has made of the QoS.
    for event in of("arrived", "amqp").into_iter().chain(of("arrived", "mqtt")) {
        ensure!(event["qos"] == 1, "an event that arrived says {event}");
    }
    let concluded = lines.iter().any(|line| {
        line["conclusion"].as_str().is_some_and(|text| text.contains("QoS 1 was granted 3 times"))
    });
    ensure!(concluded, "the conclusion does not say that the QoS was lowered:\n{}", ran.out);
    ensure!(lines.last() == Some(&json!({ "read": "labs/src/apps/bridge.rs" })), "no word on what to read");
    Ok(())
}
