//! `lab bridge`: sends one event through three protocols, and shows what happens to its
//! guarantee.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use labs::apps::bridge::{self, Happened, Leg};
use labs::lab::{Broker, Place};
use serde_json::{Value, json};

use crate::broker::{self, Options, Server};
use crate::command::{BrokerArgs, interruptible};
use crate::process::guard;
use crate::{roles, trial};

/// The texts that are published.
const TEXTS: [&str; 3] = ["one", "two", "three"];
/// The longest time for the whole demonstration.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

pub(crate) fn main(args: &BridgeArgs) -> Result<ExitCode> {
    let choices = args.brokers.choices()?;
    let source = broker::find(Broker::RabbitMq, &choices).map_err(|why| anyhow!("{why}"))?;
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let crossing = async {
        if source.is_private() {
            errln!("starting a private rabbitmq …");
        }
        let options = Options { durable: true, dir: &guard::session_dir(), settings: &[] };
        let Some(server) = interruptible(Server::start(Broker::RabbitMq, &source, &options)).await else {
            return Ok(ExitCode::from(130));
        };
        let server = server?;
        if !args.json {
            outln!("bridge: {} {}, MQTT in, AMQP and STOMP out\n", server.broker(), server.version())?;
        }
        let name = format!("lab-bridge-{:08x}", trial::run_number());
        let place = Place::new(&name, Some(server.address()));
        let crossed = interruptible(cross(&place, args.json)).await;
        let removed = bridge::remove(&place).await;
        server.stop().await?;
        let code = crossed.transpose()?.map_or(ExitCode::from(130), |()| ExitCode::SUCCESS);
        removed.context("cannot remove what the bridge left in the broker")?;
        Ok(code)
    };
    let done = runtime.block_on(crossing);
    runtime.shutdown_background();
    done
}

/// Runs the demonstration, prints what happens, and draws conclusions.
async fn cross(place: &Place, json: bool) -> Result<()> {
    let mut all = Vec::new();
    let mut tell = |happened: Happened| {
        // The reader of the output has closed it. The scenario still runs to its end.
        let _ = if json { outln!("{}", as_json(&happened)) } else { outln!("  {}", as_text(&happened)) };
        all.push(happened);
    };
    let played = tokio::time::timeout(PATIENCE, bridge::play(place, &TEXTS, &mut tell)).await;
    match played {
        Ok(played) => played?,
        Err(_) => bail!("not every event arrived within {} s", PATIENCE.as_secs()),
    }
    if !json {
        outln!("")?;
    }
    for line in conclusions(&all) {
        if json { outln!("{}", json!({ "conclusion": line }))? } else { outln!("  {line}")? }
    }
    if json {
        outln!("{}", json!({ "read": "labs/src/apps/bridge.rs" }))?;
    } else {
        outln!("\n  read on:   labs/src/apps/bridge.rs")?;
    }
    Ok(())
}

fn as_json(happened: &Happened) -> Value {
    match happened {
        Happened::Joined { leg, at, asked, given } => {
            json!({ "what": "joined", "leg": leg.to_string(), "at": at, "qos_asked": asked, "qos_given": given })
        }
        Happened::Published { text, to, asked, answer, given } => json!({
            "what": "published", "leg": "mqtt", "text": text, "to": to,
            "qos_asked": asked, "answer": answer, "qos_given": given,
        }),
        Happened::Arrived { leg, text, under, redelivered, qos } => json!({
            "what": "arrived", "leg": leg.to_string(), "text": text, "under": under,
            "redelivered": redelivered, "qos": qos,
        }),
        Happened::Settled { leg, text, accepted } => {
            json!({ "what": if *accepted { "acked" } else { "nacked" }, "leg": leg.to_string(), "text": text })
        }
    }
}

fn as_text(happened: &Happened) -> String {
    match happened {
        Happened::Joined { leg, at, asked: Some(asked), given: Some(given) } => {
            format!("{leg:<5} subscribes to {at}: QoS {asked} requested, QoS {given} granted")
        }
        Happened::Joined { leg, at, .. } => format!("{leg:<5} consumes from {at}, with acknowledgements"),
        Happened::Published { text, to, asked, answer, given } => {
            format!(
                "mqtt  publishes `{text}` to {to}: QoS {asked} requested; the answer is {answer}, QoS {given}"
            )
        }
        Happened::Arrived { leg, text, under, redelivered, qos } => {
            let again = if *redelivered { ", redelivered" } else { "" };
            let qos = qos.map(|qos| format!(", QoS {qos}")).unwrap_or_default();
            format!("{leg:<5} receives `{text}` under {under}{qos}{again}")
        }
        Happened::Settled { leg, text, accepted } => {
            format!("{leg:<5} {} `{text}`", if *accepted { "acks" } else { "refuses" })
        }
    }
}

/// Conclusions, counted from the events.
fn conclusions(all: &[Happened]) -> Vec<String> {
    let mut lines = Vec::new();
    let published = all.iter().filter(|event| matches!(event, Happened::Published { .. })).count();
    for leg in [Leg::Mqtt, Leg::Amqp, Leg::Stomp] {
        let arrived = |again: Option<bool>| {
            let here = all.iter().filter_map(|event| match event {
                Happened::Arrived { leg: at, text, redelivered, .. } if *at == leg => {
                    Some((text, *redelivered))
                }
                _ => None,
            });
            let mut texts: Vec<&String> = here
                .filter(|(_, mark)| again.is_none_or(|again| again == *mark))
                .map(|(text, _)| text)
                .collect();
            texts.sort_unstable();
            texts.dedup();
            texts.len()
        };
        let acked = all
            .iter()
            .filter(|event| matches!(event, Happened::Settled { leg: at, accepted: true, .. } if *at == leg));
        let guarantee = match leg {
            Leg::Mqtt => "the client acknowledges; at least once while it stays connected".to_owned(),
            _ => format!(
                "{} acknowledged, {} redelivered after a refusal and marked so; at least once, durable",
                acked.count(),
                arrived(Some(true))
            ),
        };
        lines.push(format!("{leg}: {} of {published} arrived; {guarantee}.", arrived(None)));
    }
    let lowered = all.iter().filter_map(|event| match event {
        Happened::Published { asked, given, .. } if given < asked => Some((*asked, *given)),
        _ => None,
    });
    let lowered: Vec<(u8, u8)> = lowered.collect();
    lines.push(match lowered.first() {
        Some((asked, given)) => format!(
            "QoS {asked} was requested {published} times, and QoS {given} was granted {} times, without an \
             error: nothing here is delivered exactly once.",
            lowered.len()
        ),
        None => "The requested QoS was granted.".to_owned(),
    });
    lines
}
