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

const EVENTS: usize = 5;
const PROBE: &str = "is anybody there?";

pub(crate) async fn program<L: PubSub>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect, and join. A subscriber gets what is published from now on, and nothing from before.
    let lab = L::open(place).await?;
    let (topic, all) = (Topic::new("news")?, Filter::All);
    let (mut publisher, mut ann, mut bob) =
        tokio::try_join!(lab.publisher(), lab.subscriber(&all), lab.subscriber(&all))?;

    // Some transports do not confirm a subscription (`./run list`, column JOIN): there the
    // publisher sends probes until each subscriber has received one.
    for subscriber in [&mut ann, &mut bob] {
        let mut joined = L::JOIN == Join::Confirmed;
        while !joined {
            publisher.publish(&topic, PROBE.into()).await?;
            publisher.flush().await?;
            joined = tokio::time::timeout(Duration::from_millis(20), subscriber.next()).await.is_ok();
        }
    }

    for number in 1..=EVENTS {
        // The publisher does not know who listens, or whether anybody does.
        publisher.publish(&topic, format!("event {number}").into()).await?;
    }
    publisher.flush().await?;
    let (to_ann, to_bob) = tokio::try_join!(receive(&mut ann), receive(&mut bob))?;
    writeln!(out, "ann heard {to_ann}\nbob heard {to_bob}")?;

    // Leave, and leave nothing in the broker.
    publisher.close().await?;
    drop((ann, bob));
    L::remove(place).await
}

/// The next events, without probes. Fewer if all publishers have left, on transports that can tell.
async fn receive(subscriber: &mut impl Subscriber) -> Result<String> {
    let mut events = Vec::new();
    while events.len() < EVENTS
        && let Some(event) = subscriber.next().await?
    {
        events.extend(Some(String::from_utf8(event.body.into())?).filter(|text| text != PROBE));
    }
    Ok(events.join(", "))
}

labs::example!(pub_sub, PubSub, program);
