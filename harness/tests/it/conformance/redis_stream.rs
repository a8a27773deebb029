//! What is particular to the labs over Redis streams: a log can be heard from
//! before, and does not grow for ever.

use anyhow::{Context as _, Result, ensure};
use labs::durable::{self, DurablePubSub as _};
use labs::lab::{Broker, Lab};
use labs::pubsub::{self, PubSub as _, Publisher};
use labs::queue::Consumer as _;
use labs::topic::{Filter, Topic};
use libtest_mimic::Trial;

use super::place::Site;
use super::stream::{END, each_once, message, number};

type Log = pubsub::redis_stream::RedisStream;
type Durable = durable::redis_stream::RedisStream;

pub(super) fn trials() -> Vec<Trial> {
    let test = |name: &'static str, check: fn(Site) -> Result<()>| {
        super::trial(format!("conformance::redis_stream::{name}"), Some(Broker::Redis), move || {
            check(Site::new(name, Some(Broker::Redis))?)
        })
    };
    vec![
        test("a_log_is_heard_from_before", |site| run::<Log>(site, replays)),
        test("what_all_have_acked_goes", |site| run::<Durable>(site, |site| trims(site, true))),
        test("what_one_has_not_acked_stays", |site| run::<Durable>(site, |site| trims(site, false))),
    ]
}

fn run<L: Lab>(site: Site, check: impl AsyncFnOnce(Site) -> Result<()>) -> Result<()> {
    let place = site.place();
    harness::roles::runtime(0)?.block_on(async {
        check(site).await?;
        L::remove(&place).await
    })
}

async fn publish(publisher: &mut impl Publisher, numbers: impl Iterator<Item = u64>) -> Result<()> {
    let topic = Topic::new("it.log")?;
    for number in numbers {
        publisher.publish(&topic, message(number, 64)).await?;
    }
    publisher.flush().await
}

/// From the beginning, from a moment, and not at all.
async fn replays(site: Site) -> Result<()> {
    let lab = Log::open(&site.place()).await?;
    let mut publisher = lab.publisher().await?;
    publish(&mut publisher, 0..100).await?;
    let now = redis_ms(&site).await?;
    // What follows has a later millisecond.
    while redis_ms(&site).await? <= now {}
    publish(&mut publisher, 100..200).await?;
    for (since, expected) in [(1, 0..200), (now + 1, 100..200), (0, 0..0)] {
        let lab = Log::open(&site.clone().with(&[("replay", since)]).place()).await?;
        let subscriber = lab.subscriber(&Filter::All).await?;
        publish(&mut publisher, [END].into_iter()).await?;
        let came = site.soon("the last event comes", super::pubsub::hear_all(subscriber)).await?;
        each_once(&came, expected).with_context(|| format!("since {since}"))?;
        // The mark of this round would end the next one early.
        let mut redis = redis(&site).await?;
        let key = format!("{}:stream", site.place().name());
        let newest: redis::streams::StreamRangeReply = redis::cmd("XREVRANGE")
            .arg(&key)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query_async(&mut redis)
            .await?;
        redis::cmd("XDEL").arg(&key).arg(&newest.ids[0].id).exec_async(&mut redis).await?;
    }
    Ok(())
}

/// After many events the log is short if all were acked, and whole if they were not.
async fn trims(site: Site, acks: bool) -> Result<()> {
    const EVENTS: u64 = 5_000;
    const EVERY: usize = 500;
    let lab = Durable::open(&site.clone().with(&[("trim-every", EVERY)]).place()).await?;
    let mut publisher = lab.publisher().await?;
    let mut subscriber = lab.durable("ann", &Filter::All).await?;
    lab.durable("ben", &Filter::All).await?.close().await?;
    if acks {
        lab.forget("ben").await?;
    }
    for from in (0..EVENTS).step_by(100) {
        publish(&mut publisher, from..from + 100).await?;
        for due in from..from + 100 {
            let next = async { subscriber.next().await?.context("nothing can come any more") };
            let delivery = site.soon("an event comes", next).await?;
            ensure!(number(&delivery.item.body)? == due, "another event came where {due} was due");
            subscriber.ack(delivery.receipt).await?;
        }
        subscriber.flush().await?;
    }
    subscriber.close().await?;
    let key = format!("{}:stream", site.place().name());
    let length: u64 = redis::cmd("XLEN").arg(key).query_async(&mut redis(&site).await?).await?;
    match acks {
        // Two rounds, and the rest of a node.
        true => {
            ensure!(length <= 2 * EVERY as u64 + 200, "all was acked, and {length} events stay in the log")
        }
        false => ensure!(length == EVENTS, "one was away, and {length} of {EVENTS} events are kept"),
    }
    Ok(())
}

async fn redis(site: &Site) -> Result<redis::aio::MultiplexedConnection> {
    Ok(redis::Client::open(site.url()?)?.get_multiplexed_async_connection().await?)
}

async fn redis_ms(site: &Site) -> Result<usize> {
    let (s, us): (usize, usize) = redis::cmd("TIME").query_async(&mut redis(site).await?).await?;
    Ok(s * 1000 + us / 1000)
}
