//! Every end, with its connection cut before each of its steps.

mod fake;
mod proxy;
mod remembered;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, TryStreamExt as _};
use tokio::time::Instant;
use tokio::time::timeout;

use super::{ConnectionLost, Recovering};
use crate::lab::{Lab as _, Place};
use crate::oneway::{OneWay as _, Receiver as _, Sender};
use crate::pubsub::{PubSub as _, Publisher, Subscriber};
use crate::queue::{Consumer, Producer, Queue as _};
use crate::reqrep::{RequestReply as _, Requester as _, Responder};
use crate::topic::{Filter, Topic};
use fake::{Fake, Server};

type AtMostOnce = Recovering<Fake<false>>;
type AtLeastOnce = Recovering<Fake<true>>;

/// More steps than any end makes here: the last runs are not cut.
const STEPS: u64 = 90;

/// A broker that cuts its connections before this step, and is down for some attempts then.
fn site(cut_at: Option<u64>) -> (Place, Arc<Server>) {
    let place = Place::new("fake", None);
    let server = Server::of(&place);
    server.state().cut_at = cut_at;
    (place, server)
}

fn bodies(count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("message {number}"))).collect()
}

fn set(messages: &[Bytes]) -> BTreeSet<Bytes> {
    messages.iter().cloned().collect()
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_message_was_taken_wherever_the_connection_is_cut() -> Result<()> {
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let producer = AtLeastOnce::open(&place).await?.producer().await?;
        server.state().down = 3;
        let bodies = bodies(20);
        let sends = join_all(bodies.iter().map(|body| producer.send(body.clone())));
        for (sent, number) in sends.await.into_iter().zip(0..) {
            sent.unwrap_or_else(|error| panic!("message {number}, cut at {cut_at}: {error:#}"));
        }
        let taken = server.state().taken.clone();
        assert_eq!(set(&taken), set(&bodies), "cut at {cut_at}");
        // All sends share one reopening: three attempts fail, the fourth succeeds.
        let opened = if cut_at <= 40 { 5 } else { 1 };
        assert_eq!(server.state().opened, opened, "cut at {cut_at}");
        let counts = place.incidents().counts();
        assert_eq!((counts.connections_lost, counts.reconnects), ((opened / 5).into(), (opened / 5).into()));
        producer.close().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_send_that_opens_and_is_dropped_leaves_the_opening_to_the_others() -> Result<()> {
    let (place, server) = site(None);
    let producer = AtLeastOnce::open(&place).await?.producer().await?;
    server.cut();
    server.state().down = 4;
    let mut first = Box::pin(producer.send("first".into()));
    let second = producer.send("second".into());
    assert!(timeout(Duration::from_millis(12), &mut first).await.is_err(), "it waits for the next attempt");
    drop(first);
    second.await?;
    assert_eq!(server.state().taken, ["second"]);
    assert_eq!(server.state().opened, 6, "no attempt was made twice");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_later_send_does_not_overtake_those_that_wait() -> Result<()> {
    let (place, server) = site(None);
    let producer = AtLeastOnce::open(&place).await?.producer().await?;
    server.cut();
    server.state().down = 3;
    // More than tokio lets one task do before others have their turn.
    let mut bodies = bodies(300);
    let waiting: FuturesUnordered<_> = bodies.iter().map(|body| producer.send(body.clone())).collect();
    let late = async {
        poll_fn(|_| if server.state().opened == 5 { Poll::Ready(()) } else { Poll::Pending }).await;
        producer.send("late".into()).await
    };
    let (waited, late) = tokio::join!(waiting.try_collect::<()>(), late);
    waited.and(late)?;
    bodies.push("late".into());
    assert_eq!(set(&server.state().taken), set(&bodies));
    assert_eq!(server.state().taken.last(), bodies.last());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn unsettled_deliveries_come_again_and_old_receipts_do_nothing() -> Result<()> {
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let mut consumer = AtLeastOnce::open(&place).await?.consumer(8).await?;
        (0..20).for_each(|number| server.add(&format!("message {number}")));
        let (mut held, mut seen) = (Vec::new(), BTreeSet::new());
        while !(server.state().queue.is_empty() && server.state().held.is_empty()) {
            while held.len() < 4 && !server.state().queue.is_empty() {
                let delivery = consumer.next().await?.expect("a message");
                seen.insert(delivery.item.clone());
                held.push(delivery);
            }
            // One in four goes back the first time.
            for (delivery, number) in held.drain(..).zip(0..) {
                if number == 3 && delivery.attempt == 1 {
                    consumer.nack(delivery.receipt).await?;
                } else {
                    consumer.ack(delivery.receipt).await?;
                }
            }
            consumer.flush().await?;
        }
        assert_eq!(seen.len(), 20, "cut at {cut_at}");
        consumer.close().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_loses_nothing_even_while_the_connection_is_opened() -> Result<()> {
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let mut consumer = AtLeastOnce::open(&place).await?.consumer(8).await?;
        server.state().down = 6;
        (0..10).for_each(|number| server.add(&format!("message {number}")));
        let mut acked = BTreeSet::new();
        let begin = Instant::now();
        while acked.len() < 10 {
            assert!(
                Instant::now() < begin + Duration::from_secs(5),
                "cut at {cut_at}: a dropped call begins anew"
            );
            // Shorter than any delay but the first.
            let Ok(delivery) = timeout(Duration::from_millis(3), consumer.next()).await else { continue };
            let delivery = delivery?.expect("a message");
            consumer.ack(delivery.receipt).await?;
            if server.state().held.is_empty()
                && server.state().queue.iter().all(|(it, _)| *it != delivery.item)
            {
                acked.insert(delivery.item);
            }
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_sender_gives_up_what_it_may_have_written_and_duplicates_nothing() -> Result<()> {
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let mut sender = AtMostOnce::open(&place).await?.sender().await?;
        let bodies = bodies(20);
        for body in &bodies {
            sender.send(body.clone()).await?;
            sender.flush().await?;
        }
        sender.close().await?;
        let taken = server.state().taken.clone();
        assert_eq!(set(&taken).len(), taken.len(), "cut at {cut_at}: a duplicate");
        assert!(taken.len() >= 19, "cut at {cut_at}: {} are lost", 20 - taken.len());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_not_flushed_is_published_again() -> Result<()> {
    let topic = Topic::new("t")?;
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let mut publisher = AtLeastOnce::open(&place).await?.publisher().await?;
        server.state().down = 2;
        let bodies = bodies(40);
        for batch in bodies.chunks(7) {
            for body in batch {
                publisher.publish(&topic, body.clone()).await?;
            }
            publisher.flush().await?;
            let taken = server.state().taken.clone();
            assert!(set(&taken).is_superset(&set(batch)), "cut at {cut_at}: a flush has confirmed too much");
        }
        publisher.close().await?;
        let taken = server.state().taken.clone();
        assert_eq!(set(&taken), set(&bodies), "cut at {cut_at}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_publisher_keeps_is_bounded_and_its_close_tells_what_is_left() -> Result<()> {
    let topic = Topic::new("t")?;
    let (place, server) = site(None);
    let mut publisher = AtLeastOnce::open(&place).await?.publisher().await?;
    for body in bodies(1500) {
        publisher.publish(&topic, body).await?;
    }
    assert_eq!(server.state().taken.len(), 1024, "flushed without being asked");
    server.cut();
    let error = format!("{:#}", publisher.close().await.expect_err("nothing is confirmed"));
    assert!(error.contains("476 messages are not confirmed"), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_fails_and_is_never_repeated_where_that_is_not_promised() -> Result<()> {
    for cut_at in 1..STEPS {
        let (place, server) = site(Some(cut_at));
        let requester = AtMostOnce::open(&place).await?.requester().await?;
        let bodies = bodies(20);
        let asked = join_all(bodies.iter().map(|body| requester.ask(body.clone().into()))).await;
        let taken = server.state().taken.clone();
        assert_eq!(set(&taken).len(), taken.len(), "cut at {cut_at}: a request was handled twice");
        for (reply, body) in asked.into_iter().zip(&bodies) {
            match reply {
                Ok(reply) => assert_eq!(reply.0, body),
                Err(error) => assert!(error.is::<ConnectionLost>(), "cut at {cut_at}: {error:#}"),
            }
        }
        if cut_at <= 40 {
            assert_eq!(requester.ask("once more".into()).await?.0, "once more", "cut at {cut_at}");
        }

        let (place, server) = site(Some(cut_at));
        let requester = AtLeastOnce::open(&place).await?.requester().await?;
        for reply in join_all(bodies.iter().map(|body| requester.ask(body.clone().into()))).await {
            reply?;
        }
        let taken = server.state().taken.clone();
        assert_eq!(set(&taken), set(&bodies), "cut at {cut_at}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_reply_to_a_request_from_before_is_dropped() -> Result<()> {
    let (place, server) = site(None);
    let mut responder = AtMostOnce::open(&place).await?.responder().await?;
    server.add("before");
    let (request, to) = responder.next().await?.expect("a request");
    server.cut();
    // It comes again: that the connection is gone is noticed here.
    let (again, new) = responder.next().await?.expect("a request");
    assert_eq!(request.0, again.0);
    responder.reply(to, "to nobody".into()).await?;
    assert_eq!(server.state().held.len(), 1);
    responder.reply(new, "to somebody".into()).await?;
    assert!(server.state().held.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn receivers_and_subscribers_join_again() -> Result<()> {
    let (place, server) = site(None);
    let lab = AtMostOnce::open(&place).await?;
    let (mut receiver, mut subscriber) = (lab.receiver().await?, lab.subscriber(&Filter::All).await?);
    for round in 0..3 {
        server.cut();
        server.add("to a receiver");
        assert_eq!(receiver.recv().await?.expect("a message"), "to a receiver", "round {round}");
        server.add("to a subscriber");
        assert_eq!(subscriber.next().await?.expect("an event").body, "to a subscriber", "round {round}");
    }
    server.add("bye");
    assert!(subscriber.next().await?.is_none(), "the publisher has left");
    let opened = server.state().opened;
    server.add("a new one");
    assert_eq!(subscriber.next().await?.expect("an event").body, "a new one");
    assert_eq!(server.state().opened, opened + 1, "it has connected again");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_flaps_or_stays_away_ends_with_the_last_error() -> Result<()> {
    for flaps in [true, false] {
        let (place, server) = site(None);
        let lab = AtLeastOnce::open(&place).await?;
        let (producer, mut consumer) = (lab.producer().await?, lab.consumer(1).await?);
        server.cut();
        (server.state().flaps, server.state().down) = (flaps, if flaps { 0 } else { u32::MAX });
        let begin = Instant::now();
        let error = format!("{:#}", producer.send("x".into()).await.expect_err("for ever"));
        let took = Instant::now() - begin;
        assert!((Duration::from_secs(28)..=Duration::from_secs(31)).contains(&took), "{took:?}");
        let last = if flaps { "the cable was cut" } else { "the broker is starting" };
        assert!(error.contains("no success for 30 s, after ") && error.contains(last), "{error}");
        assert!(producer.send("y".into()).await.is_err(), "nor does the next one wait again");
        assert!(consumer.next().await.is_err());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_final_error_is_returned_at_once_and_ends_nothing() -> Result<()> {
    let (place, server) = site(None);
    let lab = AtLeastOnce::open(&place).await?;
    let (producer, mut publisher) = (lab.producer().await?, lab.publisher().await?);
    let (topic, long) = (Topic::new("t")?, Bytes::from(vec![0; 101]));
    let sent = producer.send(long.clone());
    let error = sent.boxed_local().await.expect_err("too long");
    assert_eq!(error.to_string(), "101 bytes are too many");
    publisher.publish(&topic, long).await.expect_err("too long");
    producer.send("a".into()).await?;
    publisher.publish(&topic, "b".into()).await?;
    publisher.flush().await?;
    assert_eq!(server.state().taken, ["a", "b"], "what was refused is not kept");
    assert_eq!(server.state().opened, 2);
    assert_eq!(place.incidents().counts(), Default::default());
    Ok(())
}
