//! Publish/subscribe, as a whole program: every subscriber gets its own copy.
//!
//!     ./run example pubsub tcp
//!     ./run example pubsub mqtt mqtt://127.0.0.1:1883

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use labs::lab::{Join, Place};
use labs::pubsub::{PubSub, Publisher as _, Subscriber};
use labs::topic::{Filter, Topic};
use tokio::time::timeout;

const EVENTS: usize = 5;
const PROBE: &str = "is anybody there?";

pub(crate) async fn program<L: PubSub>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect.
    let lab = L::open(place).await?;
    // Join. A subscriber gets what is published from now on, and nothing from before.
    let all = Filter::All;
    let (mut publisher, mut ann, mut bob) =
        tokio::try_join!(lab.publisher(), lab.subscriber(&all), lab.subscriber(&all))?;

    // Some transports do not confirm a subscription (`./run list`, column JOIN): there the
    // publisher sends probes until each subscriber has heard one.
    let topic = Topic::new("news")?;
    for subscriber in [&mut ann, &mut bob] {
        let mut joined = L::JOIN == Join::Confirmed;
        while !joined {
            publisher.publish(&topic, PROBE.into()).await?;
            publisher.flush().await?;
            joined = timeout(Duration::from_millis(20), subscriber.next()).await.is_ok();
        }
    }

    let publish = async {
        for number in 1..=EVENTS {
            // The publisher does not know who listens, or whether anybody does.
            publisher.publish(&topic, format!("event {number}").into()).await?;
        }
        publisher.flush().await
    };
    let ((), to_ann, to_bob) = tokio::try_join!(publish, hear(&mut ann), hear(&mut bob))?;
    for (name, heard) in [("ann", to_ann), ("bob", to_bob)] {
        writeln!(out, "{name} heard {}", heard.join(", "))?;
    }

    // Leave, and leave nothing in the broker.
    publisher.close().await?;
    drop((ann, bob));
    L::remove(place).await
}

/// The next events, without probes.
async fn hear(subscriber: &mut impl Subscriber) -> Result<Vec<String>> {
    let mut heard = Vec::new();
    while heard.len() < EVENTS {
        // None: no publisher can come any more, on transports that can tell.
        let Some(event) = subscriber.next().await? else { break };
        heard.extend(Some(String::from_utf8(event.body.into())?).filter(|text| text != PROBE));
    }
    Ok(heard)
}

labs::example!(pub_sub, PubSub, program);
