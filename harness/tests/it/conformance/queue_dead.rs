//! What happens to a message that fails at every attempt: it is put aside, once, and can be returned.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use labs::lab::Broker;
use labs::queue::{Consumer, DeadLetter, DeadLetters, Delivery, Queue};

use super::leftovers::no_queues_and_exchanges;
use super::place::Site;
use super::queue::{Out, next};
use super::stream::{END, Tx as _, message, number};

/// The limit, and the attempts that fail.
const MOST: u32 = 3;
/// The message that nobody can handle.
const POISON: u64 = 0;
/// Between two looks at the dead letters.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn dead<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon().with(&[("max-attempts", MOST as usize)]);
    let lab = L::open(&site.place()).await?;
    let mut tx = Out::new::<L>(lab.producer().await?);
    let mut letters = lab.dead_letters().await?;
    ensure!(letters.list(10).await?.is_empty(), "a new queue has dead letters");
    let mut consumer = lab.consumer(4).await?;
    tx.put((POISON..5).map(|number| message(number, 64)).collect()).await?;

    // It is nacked as often as it may be; the others come once, and are not held up by it.
    let (mut failed, mut others) = (0, BTreeSet::new());
    while failed < MOST || others.len() < 4 {
        let delivery = next(&site, &mut consumer).await?;
        if number(&delivery.item)? == POISON {
            fail(&mut consumer, delivery, &mut failed).await?;
        } else {
            ensure!(others.insert(number(&delivery.item)?), "another message came twice");
            ensure!(delivery.attempt == 1, "another message is marked as attempt {}", delivery.attempt);
            consumer.ack(delivery.receipt).await?;
        }
    }
    let letter = put_aside(&site, &mut consumer, &mut letters).await?;
    ensure!(!letter.reason.is_empty(), "a dead letter without a reason");
    let word = !letter.id.is_empty() && letter.id.chars().all(|c| c.is_ascii_graphic());
    ensure!(word, "the id {:?} is not a printable word", letter.id);
    let again = put_aside(&site, &mut consumer, &mut letters).await?;
    ensure!(again == letter, "it was listed as {letter:?}, then as {again:?}");
    // Whatever comes again does so before what is sent now, or with it.
    tx.put(vec![message(END, 64)]).await?;
    let last = next(&site, &mut consumer).await?;
    ensure!(number(&last.item)? == END, "message {} came, which was settled", number(&last.item)?);
    consumer.ack(last.receipt).await?;
    consumer.flush().await?;

    // Returned, it begins anew.
    ensure!(!letters.give_back("no-such-id").await?, "an unknown id was returned");
    ensure!(letters.give_back(&letter.id).await?, "{letter:?} is not there any more");
    let delivery = poison(&site, &mut consumer, 1).await?;
    none(&site, &mut letters).await?;

    // A consumer that goes without a word has failed, too: at the first attempt, and at the last.
    drop((delivery, consumer));
    let mut second = lab.consumer(4).await?;
    let delivery = poison(&site, &mut second, 2).await?;
    second.nack(delivery.receipt).await?;
    second.flush().await?;
    let delivery = poison(&site, &mut second, MOST).await?;
    drop((delivery, second));
    let mut third = lab.consumer(4).await?;
    let letter = put_aside(&site, &mut third, &mut letters).await?;
    ensure!(!letters.discard("no-such-id").await?, "an unknown id was discarded");
    ensure!(letters.discard(&letter.id).await?, "{letter:?} is not there any more");
    ensure!(!letters.discard(&letter.id).await?, "it was discarded twice");
    none(&site, &mut letters).await?;

    // What is put aside goes with the queue.
    tx.put(vec![message(POISON, 64)]).await?;
    let mut failed = 0;
    while failed < MOST {
        let delivery = next(&site, &mut third).await?;
        fail(&mut third, delivery, &mut failed).await?;
    }
    put_aside(&site, &mut third, &mut letters).await?;
    third.close().await?;
    drop((letters, tx, lab));
    L::remove(&site.place()).await?;
    if L::BROKER == Some(Broker::RabbitMq) {
        no_queues_and_exchanges(&site).await?;
    }
    let lab = L::open(&site.place()).await?;
    let _producer = lab.producer().await?;
    let left = lab.dead_letters().await?.list(10).await?;
    ensure!(left.is_empty(), "these dead letters outlive their queue: {left:?}");
    Ok(())
}

/// Fails the next attempt of the message: it is marked as such.
async fn fail<C: Consumer<Item = Bytes>>(
    consumer: &mut C,
    delivery: Delivery<Bytes, C::Receipt>,
    failed: &mut u32,
) -> Result<()> {
    ensure!(*failed < MOST, "the message came again after {failed} failed attempts");
    *failed += 1;
    let attempt = delivery.attempt;
    ensure!(attempt == *failed, "delivery {failed} of a message is marked as attempt {attempt}");
    consumer.nack(delivery.receipt).await?;
    consumer.flush().await
}

/// The message comes, at this attempt.
async fn poison<C: Consumer<Item = Bytes>>(
    site: &Site,
    consumer: &mut C,
    attempt: u32,
) -> Result<Delivery<Bytes, C::Receipt>> {
    let delivery = next(site, consumer).await?;
    ensure!(number(&delivery.item)? == POISON, "another message came");
    let marked = delivery.attempt;
    ensure!(marked == attempt, "attempt {attempt} is marked as attempt {marked}");
    Ok(delivery)
}

/// Waits until the message is put aside, once, and does not come any more. Some brokers put it aside
/// when a consumer asks for more.
async fn put_aside<C: Consumer<Item = Bytes>>(
    site: &Site,
    consumer: &mut C,
    letters: &mut impl DeadLetters,
) -> Result<DeadLetter> {
    let listed = async {
        loop {
            if let Ok(came) = tokio::time::timeout(LOOK, consumer.next()).await {
                let came = came?.map(|delivery| delivery.attempt);
                anyhow::bail!("the message came again after {MOST} failed attempts: {came:?}");
            }
            let listed = letters.list(10).await?;
            if !listed.is_empty() {
                return Ok(listed);
            }
        }
    };
    let mut listed = site.soon("the message is put aside", listed).await?;
    ensure!(listed.len() == 1, "one message is {} dead letters", listed.len());
    let letter = listed.remove(0);
    ensure!(letter.body == message(POISON, 64), "another body is put aside");
    ensure!(letter.attempts == MOST, "it failed {MOST} times, and {} are noted", letter.attempts);
    Ok(letter)
}

/// Waits until nothing is put aside.
async fn none(site: &Site, letters: &mut impl DeadLetters) -> Result<()> {
    let gone = async {
        while !letters.list(10).await?.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    site.soon("no dead letter is left", gone).await
}
