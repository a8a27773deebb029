//! Durable subscribers: what every stream owes, and what is kept for whom, in
//! which order, and for how long.

mod ends;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use labs::durable::DurablePubSub;
use labs::pubsub::{Event, Publisher as _};
use labs::queue::Consumer as _;
use labs::topic::{Filter, Topic};

use super::place::Site;
use super::pubsub::{self, TOPIC};
use super::stream::{self, END, each_once, message, number};
use super::{Promise, foreign, survival};
use ends::In;
pub(super) use ends::Kept;
pub(super) use ends::{next, publish, until};

/// Who subscribes in these checks.
pub(super) const IDS: [&str; 3] = ["ann", "ben", "cat"];
pub(super) const ANN: &str = IDS[0];
/// How long "nothing comes" is watched, where no marker can follow.
const NOTHING: Duration = Duration::from_millis(250);

/// `promises!`, of a lab that is removed as [`Kept`] is.
macro_rules! kept {
    ($lab:ty: $($name:ident),+ $(,)?) => {
        vec![$(Promise::of::<Kept<$lab>, _>(stringify!($name), $name::<$lab>)),+]
    };
}

pub(super) fn promises<L: DurablePubSub>() -> Vec<Promise> {
    let mut promises = stream::promises::<Kept<L>>("");
    promises.extend(survival::promises::<Kept<L>>(""));
    promises.extend(kept![L:
        missed, stored, acked, again, nack, returns, copies, filters, refuses, forgotten, first, prefetch
    ]);
    promises.extend(foreign::durable::<L>());
    // Its plain subscribers are those of any publish/subscribe lab.
    promises.extend(pubsub::subscribing::<L>("plain_"));
    promises
}

/// What was published while it was away comes when it is back, before what is
/// published then: in order, and once, unless marked as a redelivery. Time and again.
async fn missed<L: DurablePubSub>(site: Site) -> Result<()> {
    const EACH: u64 = 200;
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut came = Vec::new();
    lab.durable(ANN, &Filter::All).await?.close().await?;
    for round in 0..4 {
        let first = round * 2 * EACH;
        publish(&site, &mut publisher, first..first + EACH).await?;
        let mut subscriber = lab.durable(ANN, &Filter::All).await.context("it cannot come back")?;
        publish(&site, &mut publisher, first + EACH..first + 2 * EACH).await?;
        let heard = until(&site, &mut subscriber, first..first + 2 * EACH).await;
        came.extend(heard.with_context(|| format!("back for the {}. time", round + 1))?);
        site.soon("it leaves", subscriber.close()).await?;
    }
    let once: Vec<u64> =
        came.iter().filter(|(_, attempt)| *attempt == 1).map(|(number, _)| *number).collect();
    if let Some(pair) = once.windows(2).find(|pair| pair[0] >= pair[1]) {
        bail!("event {} came after {}, and is not marked as a redelivery", pair[1], pair[0]);
    }
    Ok(())
}

/// However much is published while it is away, all of it is kept.
async fn stored<L: DurablePubSub>(site: Site) -> Result<()> {
    const STORED: u64 = 5_000;
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    lab.durable(ANN, &Filter::All).await?.close().await?;
    publish(&site, &mut publisher, (0..STORED).chain([END])).await?;
    let mut rx = In::new(lab.durable(ANN, &Filter::All).await?);
    let came = site.soon("the last event comes", stream::take_all(&mut rx)).await?;
    each_once(&came, 0..STORED)?;
    rx.subscriber.close().await
}

/// What was acked does not come again, whether the subscriber left in order or
/// vanished; what was not acked does.
async fn acked<L: DurablePubSub>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut first = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, 0..6).await?;
    for _ in 0..6 {
        let delivery = next(&site, &mut first).await?;
        if number(&delivery.item.body)? % 2 == 0 {
            first.ack(delivery.receipt).await?;
        }
    }
    site.soon("the acks are known", first.flush()).await?;
    drop(first);
    let mut second = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [6]).await?;
    let came = until(&site, &mut second, [1, 3, 5, 6]).await?;
    let again = came.iter().find(|(number, _)| number % 2 == 0 && *number < 6);
    ensure!(again.is_none(), "event {again:?} was acked and came again");
    // All is acked; leaving in order tells the acks that were only accepted.
    publish(&site, &mut publisher, [7]).await?;
    let delivery = next(&site, &mut second).await?;
    second.ack(delivery.receipt).await?;
    site.soon("it leaves", second.close()).await?;
    let mut third = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [8]).await?;
    let came = until(&site, &mut third, [8]).await?;
    ensure!(came.len() == 1, "of {came:?} all but the last were acked and came again");
    third.close().await
}

/// What it had not acked when it vanished without a word comes again, marked;
/// so does what was on its way to it.
async fn again<L: DurablePubSub>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut first = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, 0..20).await?;
    let mut taken = Vec::new();
    for _ in 0..3 {
        let delivery = next(&site, &mut first).await?;
        ensure!(delivery.attempt == 1, "a first delivery is marked as attempt {}", delivery.attempt);
        taken.push(number(&delivery.item.body)?);
    }
    drop(first);
    publish(&site, &mut publisher, 20..30).await?;
    let mut second = lab.durable(ANN, &Filter::All).await.context("it cannot come back")?;
    let came: BTreeMap<u64, u32> = until(&site, &mut second, 0..30).await?.into_iter().collect();
    for number in taken {
        ensure!(came[&number] > 1, "event {number} came again, marked as attempt {}", came[&number]);
    }
    second.close().await
}

/// What was nacked comes again.
async fn nack<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut subscriber = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, 0..2).await?;
    let (first, second) = (next(&site, &mut subscriber).await?, next(&site, &mut subscriber).await?);
    subscriber.ack(second.receipt).await?;
    subscriber.nack(first.receipt).await?;
    site.soon("the nack is known", subscriber.flush()).await?;
    let came = until(&site, &mut subscriber, [0]).await.context("what was nacked")?;
    ensure!(came.iter().all(|(number, _)| *number == 0), "what was acked came again: {came:?}");
    subscriber.close().await
}

/// A subscriber that closes gives back at once what it has not settled.
async fn returns<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut first = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, 0..20).await?;
    for _ in 0..3 {
        next(&site, &mut first).await?;
    }
    site.soon("it leaves", first.close()).await?;
    let mut second = lab.durable(ANN, &Filter::All).await?;
    until(&site, &mut second, 0..20).await?;
    second.close().await
}

/// Everyone gets everything: who is there, who is away, and who just listens.
async fn copies<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let topic = Topic::new(TOPIC)?;
    let mut publisher = lab.publisher().await?;
    let (mut ann, ben) = (lab.durable(ANN, &Filter::All).await?, lab.durable(IDS[1], &Filter::All).await?);
    ben.close().await?;
    let mut plain = lab.subscriber(&Filter::All).await?;
    pubsub::probe::<L>(&mut publisher, &mut [(&mut plain, topic)]).await?;
    publish(&site, &mut publisher, (0..500).chain([END])).await?;
    let came = site.soon("the last event comes to one who just listens", pubsub::hear_all(plain)).await?;
    each_once(&came, 0..500).context("one who just listens")?;
    let mut ben = lab.durable(IDS[1], &Filter::All).await?;
    for (who, subscriber) in [("who was there", &mut ann), ("who was away", &mut ben)] {
        let came = until(&site, subscriber, (0..500).chain([END])).await;
        let came = came.with_context(|| format!("a durable subscriber {who}"))?;
        let numbers: Vec<u64> = came.into_iter().map(|(number, _)| number).collect();
        each_once(&numbers, (0..500).chain([END])).with_context(|| format!("a durable subscriber {who}"))?;
    }
    ann.close().await?;
    ben.close().await
}

/// A filter chooses what is kept as it chooses what is heard.
async fn filters<L: DurablePubSub>(site: Site) -> Result<()> {
    let (lab, topics) = (L::open(&site.place()).await?, pubsub::topics()?);
    let filters = pubsub::filters_of(|kind| L::FILTERS.contains(&kind))?;
    let ids: Vec<String> = (0..filters.len()).map(|number| format!("filter-{number}")).collect();
    let mut publisher = lab.publisher().await?;
    let everyone: Vec<(&String, &Filter)> = ids.iter().zip(&filters).collect();
    // A few at a time: a broker on a small machine need not take them all at once.
    for some in everyone.chunks(8) {
        try_join_all(some.iter().map(async |(id, filter)| lab.durable(id, filter).await?.close().await))
            .await?;
    }
    for topic in &topics {
        publisher.publish(topic, Bytes::copy_from_slice(topic.as_str().as_bytes())).await?;
    }
    for (at, filter) in filters.iter().enumerate() {
        let hit = topics.iter().find(|topic| filter.matches(topic)).context("no topic for it")?;
        publisher.publish(hit, message(at as u64, 32)).await?;
    }
    site.soon("all is confirmed", publisher.flush()).await?;
    for (at, (id, filter)) in everyone.into_iter().enumerate() {
        let mut subscriber = lab.durable(id, filter).await?;
        let mut heard = Vec::new();
        // To each its own last one.
        loop {
            let delivery = next(&site, &mut subscriber).await.with_context(|| format!("`{filter}`"))?;
            let Event { topic, body } = delivery.item;
            subscriber.ack(delivery.receipt).await?;
            ensure!(filter.matches(&topic), "`{filter}` heard {topic}, which it does not match");
            match body == topic.as_str() {
                true => heard.push(topic),
                false if number(&body)? == at as u64 => break,
                false => {}
            }
        }
        subscriber.close().await?;
        if let Some(topic) = topics.iter().find(|topic| filter.matches(topic) && !heard.contains(topic)) {
            bail!("`{filter}` did not hear {topic}");
        }
        lab.forget(id).await?;
    }
    Ok(())
}

/// A filter the lab does not know is refused to durable subscribers, too.
async fn refuses<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    pubsub::refused::<L, _>(&site, async |filter| lab.durable(ANN, filter).await.map(drop)).await
}

/// Who is forgotten is a stranger, who comes for the first time; the others are not.
async fn forgotten<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    lab.forget(ANN).await.context("forgetting a stranger")?;
    let mut publisher = lab.publisher().await?;
    lab.durable(ANN, &Filter::All).await?.close().await?;
    lab.durable(IDS[1], &Filter::All).await?.close().await?;
    publish(&site, &mut publisher, 0..50).await?;
    for time in ["once", "twice"] {
        lab.forget(ANN).await.with_context(|| format!("forgetting {time}"))?;
    }
    publish(&site, &mut publisher, 50..100).await?;
    let mut ann = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [END]).await?;
    let came = until(&site, &mut ann, [END]).await?;
    ensure!(came.len() == 1, "{} events came that were kept for one who was forgotten", came.len() - 1);
    ann.close().await?;
    let mut ben = lab.durable(IDS[1], &Filter::All).await?;
    until(&site, &mut ben, (0..100).chain([END])).await.context("one whom nobody forgot")?;
    ben.close().await
}

/// What was published before it first came does not come.
async fn first<L: DurablePubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    publish(&site, &mut publisher, 0..100).await?;
    let mut subscriber = lab.durable(ANN, &Filter::All).await?;
    publish(&site, &mut publisher, [END]).await?;
    let came = until(&site, &mut subscriber, [END]).await?;
    ensure!(came.len() == 1, "{} events from before it first came came", came.len() - 1);
    subscriber.close().await
}

/// No more than the knob `prefetch` says is handed out and unsettled.
async fn prefetch<L: DurablePubSub>(site: Site) -> Result<()> {
    const MOST: usize = 4;
    let place = site.clone().with(&[("prefetch", MOST)]).place();
    let lab = L::open(&place).await?;
    let mut publisher = lab.publisher().await?;
    let mut subscriber = lab.durable(ANN, &Filter::All).await?;
    ensure!(
        place.knobs_read().contains_key("prefetch"),
        "the lab has no knob `prefetch`: who agreed on how many?"
    );
    publish(&site, &mut publisher, 0..20).await?;
    let mut held = VecDeque::new();
    for _ in 0..3 {
        while held.len() < MOST {
            held.push_back(next(&site, &mut subscriber).await?);
        }
        let more = tokio::time::timeout(NOTHING, subscriber.next()).await;
        ensure!(more.is_err(), "a delivery came while {MOST} were unsettled, the agreed most");
        if let Some(oldest) = held.pop_front() {
            subscriber.ack(oldest.receipt).await?;
            subscriber.flush().await?;
        }
    }
    Ok(())
}
