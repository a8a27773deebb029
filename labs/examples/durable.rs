//! A durable subscriber, as a whole program: it goes away, comes back, and gets what it missed.
//!
//!     ./run example durable redis-stream redis://127.0.0.1:6379
//!     ./run example durable jetstream nats://127.0.0.1:4222

use std::io::Write;

use anyhow::Result;
use labs::durable::DurablePubSub;
use labs::lab::Place;
use labs::pubsub::Publisher as _;
use labs::queue::Consumer as _;
use labs::topic::{Filter, Topic};

const EVENTS: usize = 3;
/// Events are kept for this name until a subscriber with this name has acknowledged them.
const ANN: &str = "ann";

pub(crate) async fn program<L: DurablePubSub>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect.
    let lab = L::open(place).await?;
    let mut publisher = lab.publisher().await?;
    let topic = Topic::new("news")?;

    // Join for the first time: from now on, events are kept for Ann. And leave again.
    lab.durable(ANN, &Filter::All).await?.close().await?;

    // Published while Ann is away.
    for number in 1..=EVENTS {
        publisher.publish(&topic, format!("event {number}").into()).await?;
    }
    // In these labs a publisher's flush returns when all events are *confirmed*: stored.
    publisher.flush().await?;

    // Ann comes back under the same name. What she missed comes first, in order.
    let mut ann = lab.durable(ANN, &Filter::All).await?;
    for _ in 0..EVENTS {
        let Some(delivery) = ann.next().await? else { break };
        writeln!(out, "ann missed {}", String::from_utf8_lossy(&delivery.item.body))?;
        // Until it is acknowledged, the event is kept and comes again the next time.
        ann.ack(delivery.receipt).await?;
    }
    ann.flush().await?;
    ann.close().await?;

    // A name that nobody forgets costs storage for ever.
    lab.forget(ANN).await?;
    publisher.close().await?;
    L::remove(place).await
}

labs::example!(durable, DurablePubSub, program);
