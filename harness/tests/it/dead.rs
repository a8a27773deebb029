//! `lab dead`: what a queue has put aside is listed, shown, returned and discarded, and what makes no
//! sense is refused with the remedy.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use labs::lab::Broker;
use labs::queue::redis::RedisList;
use labs::queue::tcp::Tcp;
use labs::queue::{Consumer as _, DeadLetters as _, Delivery, Producer as _, Queue};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::conformance::Site;
use crate::needs::{Need, needs};
use crate::program::run;
use crate::{lab, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let redis = "dead::letters_are_shown_and_settled";
    vec![
        needs(Need::FullBroker(Broker::Redis), redis, || run_through::<RedisList>("queue-redis")),
        trial("dead::log_of_a_producer_that_has_left_is_read", || run_through::<Tcp>("queue-tcp")),
        trial("dead::what_makes_no_sense_is_refused", refused),
    ]
}

/// One is text, the other is not.
const BODIES: [&[u8]; 2] = [b"hello", b"b\x07ad\xff"];

fn run_through<L: Queue>(name: &str) -> Result<()> {
    // A message is dead after one failure.
    let site = Site::new(name, L::BROKER)?.with(&[("max-attempts", 1)]);
    harness::roles::runtime(0)?.block_on(put_aside::<L>(&site))?;
    let url = L::BROKER.map(|broker| anyhow::Ok(format!("{broker}={}", site.url()?))).transpose()?;
    let place = site.place().name();
    let with = |words: &[&'static str], ids: &[&str]| -> Vec<String> {
        let words = [&["dead", name], words].concat();
        let mut all: Vec<String> = words.iter().chain(ids).map(|word| (*word).to_owned()).collect();
        all.extend(["--place".to_owned(), place.clone()]);
        all.extend(url.iter().flat_map(|url| ["--url".to_owned(), url.clone()]));
        all
    };
    let dead = |words: &[&'static str], ids: &[&str]| {
        run(&with(words, ids).iter().map(String::as_str).collect::<Vec<_>>())
    };
    let listed = || -> Result<Vec<Value>> {
        let listed: Value = serde_json::from_str(&dead(&["--json"], &[])?.expect(0)?.out)?;
        Ok(listed.as_array().context("no list")?.clone())
    };

    let letters = listed()?;
    ensure!(letters.len() == 2, "{letters:?}");
    for (letter, body) in letters.iter().zip([json!("hello"), json!(BODIES[1])]) {
        let as_it_was = letter["body"] == body && letter["attempts"] == 1 && letter["reason"] == "nacked";
        ensure!(as_it_was, "{letter}");
    }
    let id = |at: usize| letters[at]["id"].as_str().context("no id");
    let table = dead(&[], &[])?.expect(0)?.out;
    let shown =
        table.starts_with("ID") && table.contains("nacked  hello\n") && table.contains("b\\u{7}ad\u{fffd}");
    ensure!(shown, "{table}");
    let first = dead(&["show"], &[id(0)?])?.expect(0)?;
    ensure!(first.out == "hello\n", "{:?}", first.out);
    first.told(&["1 attempts have failed, the last one: nacked"])?;
    let raw = with(&["show", "--raw"], &[id(1)?]);
    let raw = lab(&raw.iter().map(String::as_str).collect::<Vec<_>>()).output()?.stdout;
    ensure!(raw == BODIES[1], "{raw:?}");

    for action in ["show", "return", "discard"] {
        dead(&[action], &["nope"])?.expect(1)?.told(&[&format!("has no dead letter `nope` at `{place}`")])?;
    }
    ensure!(listed()? == letters, "something was settled");
    dead(&["return"], &[id(0)?])?.expect(0)?.told(&["returned: 1 of 1"])?;
    ensure!(listed()? == letters[1..], "the other one is left");
    dead(&["discard", "--all"], &[])?.expect(0)?.told(&["discarded: 1 of 1"])?;
    dead(&[], &[])?.expect(0)?.told(&[&format!("{name} has no dead letters at `{place}`")])?;

    harness::roles::runtime(0)?.block_on(async {
        let lab = L::open(&site.place()).await?;
        let (producer, mut consumer) = tokio::try_join!(lab.producer(), lab.consumer(1))?;
        let Delivery { item, receipt, .. } = site
            .soon("what was returned comes", consumer.next())
            .await?
            .context("nothing can come any more")?;
        ensure!(item == BODIES[0], "{item:?} came");
        consumer.ack(receipt).await?;
        consumer.close().await?;
        producer.close().await?;
        L::remove(&site.place()).await
    })
}

/// Two messages fail.
async fn put_aside<L: Queue>(site: &Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let (producer, mut consumer) = tokio::try_join!(lab.producer(), lab.consumer(1))?;
    for body in BODIES {
        producer.send(Bytes::from_static(body)).await?;
        let next = site.soon("a message comes", consumer.next()).await?;
        consumer.nack(next.context("nothing can come any more")?.receipt).await?;
        consumer.flush().await?;
    }
    let mut letters = lab.dead_letters().await?;
    let both = async {
        while letters.list(10).await?.len() < BODIES.len() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    };
    site.soon("both are put aside", both).await?;
    consumer.close().await?;
    producer.close().await
}

fn refused() -> Result<()> {
    const URL: [&str; 2] = ["--url", "redis=redis://127.0.0.1:1"];
    for (words, told) in [
        (&["pubsub-tcp"][..], &["pubsub-tcp is not a queue", "did you mean `", "queue-redis-stream"][..]),
        (&["queue-redi"], &["there is no lab `queue-redi`; did you mean `queue-redis`?"]),
        (&["queue-redis"], &["--url redis=URL", "`lab play queue-redis producer`"]),
        (&["queue-redis", "--url", "redis=wheel"], &["a new one has no dead letters"]),
        (&["queue-redis", "frob"], &["invalid value 'frob'", "list, show, return, discard"]),
        (&["queue-redis", "list", "x"], &["`list` takes no id"]),
        (&["queue-redis", "show"], &["`show` takes one id, and 0 were given"]),
        (&["queue-redis", "show", "x", "y"], &["`show` takes one id, and 2 were given"]),
        (&["queue-redis", "show", "x", "--all"], &["--all is for `return` and `discard`, not for `show`"]),
        (&["queue-redis", "--raw"], &["--raw is for `show`"]),
        (&["queue-redis", "return"], &["`return` takes ids, or --all"]),
        (&["queue-redis", "discard", "x", "--all"], &["`discard` takes ids, or --all"]),
        (&["queue-redis", "--place", "a b"], &["--place `a b` is not a name"]),
        (&["queue-zeromq"], &["in the memory of its producer", "--at", "`lab play queue-zeromq producer`"]),
    ] {
        let place = words.contains(&"--place");
        let url: &[&str] = if place { &URL } else { &[] };
        run(&[&["dead"], words, url].concat())?.expect(2)?.told(told)?;
    }
    run(&[&["dead", "queue-redis"][..], &URL].concat())?.expect(1)?.told(&["cannot connect to Redis"])
}
