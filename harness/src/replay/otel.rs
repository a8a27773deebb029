//! A replay as spans: OpenTelemetry's JSON (OTLP), as Jaeger and the collector read it.
//!
//! A message is a trace. Its spans have the names and attributes of the semantic conventions for
//! messaging: one for sending, until it was confirmed, and one for each delivery, until it was
//! settled. A replay has times since its start and no date: the last span ends now.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::model::{Replay, ReplayEvent, ReplayWhat};

/// OpenTelemetry's numbers for the kinds of spans.
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

/// All messages of some replays.
pub(super) fn json(replays: &[Replay]) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(serde_json::to_string(&spans(replays, now as u64))?)
}

fn spans(replays: &[Replay], now: u64) -> Value {
    let mut resources = Vec::new();
    for (part, replay) in replays.iter().enumerate() {
        let last = replay.events.last().map_or(0, |event| event.at);
        let mut by_lane: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (number, event) in replay.events.iter().enumerate() {
            let Some(message) = &event.message else { continue };
            let about = |what: &[ReplayWhat], later: &ReplayEvent| {
                later.message.as_ref() == Some(message)
                    && later.lane == event.lane
                    && what.contains(&later.what)
            };
            let end = |what: &[ReplayWhat]| {
                replay.events[number..]
                    .iter()
                    .find(|later| about(what, later))
                    .map_or(event.at, |later| later.at)
            };
            let (operation, kind, end) = match event.what {
                ReplayWhat::Sent => ("send", PRODUCER, end(&[ReplayWhat::Confirmed, ReplayWhat::Answered])),
                ReplayWhat::Received => {
                    ("process", CONSUMER, end(&[ReplayWhat::Acked, ReplayWhat::Nacked, ReplayWhat::Replied]))
                }
                _ => continue,
            };
            let time = |at: u64| (now - last.min(now) + at).to_string();
            let trace =
                hex(&[&replay.head.lab, &part.to_string(), event.about.as_ref().unwrap_or(message)], 16);
            let producer = hex(&["send", &part.to_string(), message], 8);
            let mut span = json!({
                "traceId": trace,
                "name": format!("{operation} {}", replay.head.lab),
                "kind": kind,
                "startTimeUnixNano": time(event.at),
                "endTimeUnixNano": time(end),
                "attributes": attributes(replay, event, message, operation),
            });
            if kind == PRODUCER {
                span["spanId"] = producer.into();
                if let Some(about) = &event.about {
                    span["parentSpanId"] = hex(&["send", &part.to_string(), about], 8).into();
                }
            } else {
                span["spanId"] = hex(&["process", &part.to_string(), &number.to_string()], 8).into();
                span["parentSpanId"] = producer.into();
            }
            by_lane.entry(&event.lane).or_default().push(span);
        }
        for (lane, spans) in by_lane {
            resources.push(json!({
                "resource": { "attributes": [attribute("service.name", lane)] },
                "scopeSpans": [{ "scope": { "name": "messaging-lab" }, "spans": spans }],
            }));
        }
    }
    json!({ "resourceSpans": resources })
}

fn attributes(replay: &Replay, event: &ReplayEvent, message: &str, operation: &str) -> Vec<Value> {
    let system = replay.head.broker.as_deref().and_then(|broker| broker.split(' ').next());
    let mut attributes = vec![
        attribute("messaging.system", system.unwrap_or(&replay.head.lab)),
        attribute("messaging.operation.type", operation),
        attribute("messaging.operation.name", operation),
        attribute("messaging.message.id", message),
    ];
    attributes.extend(event.topic.as_deref().map(|topic| attribute("messaging.destination.name", topic)));
    attributes.extend(event.attempt.map(|attempt| attribute("messaging.lab.delivery", &attempt.to_string())));
    attributes
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// An identifier of so many bytes that depends on these words alone.
fn hex(words: &[&str], bytes: usize) -> String {
    let digest = Sha256::digest(words.join("\0"));
    digest.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::Head;
    use super::*;

    #[test]
    fn a_delivery_is_the_child_of_what_sent_it() {
        let head = Head { lab: "queue-redis".into(), broker: Some("redis 7.2.4".into()), ..Head::default() };
        let mut replay = Replay::new(head);
        let event = |at, lane: &str, what| ReplayEvent::new(at, lane, what).about_message("1");
        replay.events = vec![
            event(10, "producer-0", ReplayWhat::Sent),
            event(15, "consumer-0", ReplayWhat::Received),
            event(20, "producer-0", ReplayWhat::Confirmed),
            event(30, "consumer-0", ReplayWhat::Acked),
        ];
        let spans = spans(&[replay], 1_030);
        let of = |lane: usize| &spans["resourceSpans"][lane]["scopeSpans"][0]["spans"][0];
        let (processed, sent) = (of(0), of(1));
        assert_eq!((&sent["startTimeUnixNano"], &sent["endTimeUnixNano"]), (&json!("1010"), &json!("1020")));
        assert_eq!(processed["endTimeUnixNano"], json!("1030"));
        assert_eq!((&processed["parentSpanId"], &processed["traceId"]), (&sent["spanId"], &sent["traceId"]));
        assert_eq!(sent["traceId"].as_str().map(str::len), Some(32));
        assert_eq!(sent["spanId"].as_str().map(str::len), Some(16));
        assert_eq!(sent["attributes"][0]["value"]["stringValue"], json!("redis"));
    }
}
