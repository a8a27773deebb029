//! STOMP through RabbitMQ, beyond what every lab owes: what a receipt means
//! when the broker is killed, plain clients at the other end, and requests that
//! no responder can answer.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use labs::lab::{Broker, Lab, Place};
use labs::oneway::stomp::Stomp as OneWayStomp;
use labs::oneway::{OneWay, Receiver, Sender};
use labs::queue::stomp::Stomp as QueueStomp;
use labs::queue::{Consumer, Producer, Queue};
use labs::reqrep::stomp::Stomp as ReqRepStomp;
use labs::reqrep::{RequestReply, Requester, Responder};
use libtest_mimic::Trial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::place::{Site, own};
use super::queue::next;
use super::stream::{message, number};
use super::{Promise, trial};
use crate::needs::proof;

/// Messages on their way when the broker is killed, and how many are confirmed by then.
const IN_FLIGHT: usize = 200;
const BEFORE: usize = 2_000;

pub(super) fn trials() -> Vec<Trial> {
    let promises = [
        Promise::of::<QueueStomp, _>("a_receipt_survives_a_kill_in_mid_stream", receipts),
        Promise::of::<QueueStomp, _>("without_persistent_a_receipt_survives_nothing", transient),
        Promise::of::<QueueStomp, _>("a_receipt_comes_for_a_queue_that_is_gone", gone),
        Promise::of::<OneWayStomp, _>("a_keyboard_can_send_and_receive", keyboard),
        Promise::of::<ReqRepStomp, _>("requests_that_cannot_be_answered_are_dropped", poison),
    ];
    let trials = promises.into_iter().map(|promise| {
        let name = format!("conformance::stomp::{}", promise.name);
        // They kill nodes of their own.
        let slow = promise.name.contains("survives");
        let trial = trial(name, Some(Broker::RabbitMq), move || {
            promise.hold(Site::new(&format!("stomp-{}", promise.name), Some(Broker::RabbitMq))?)
        });
        if slow { proof(trial) } else { trial }
    });
    trials.collect()
}

/// The broker is killed while messages are on their way: those with a receipt come.
async fn receipts(site: Site) -> Result<()> {
    let (confirmed, came) = killed(site).await?;
    let lost: Vec<&u64> = confirmed.difference(&came).collect();
    ensure!(lost.is_empty(), "{} of {} confirmed messages are lost", lost.len(), confirmed.len());
    Ok(())
}

/// The same with messages that are not persistent: so it is this that saves them.
async fn transient(site: Site) -> Result<()> {
    let (confirmed, came) = killed(site.with(&[("persistent", 0)])).await?;
    let saved = confirmed.intersection(&came).count();
    ensure!(saved == 0, "{saved} of {} messages that were not persistent have come", confirmed.len());
    Ok(())
}

/// What was confirmed before and at the kill, and what comes after it.
async fn killed(site: Site) -> Result<(BTreeSet<u64>, BTreeSet<u64>)> {
    let (mut server, dir) = own(Broker::RabbitMq, true).await?;
    let there = site.moved_to(&server);
    let producer = QueueStomp::open(&there.place()).await?.producer().await?;
    let (confirmed, producer) = (RefCell::new(BTreeSet::new()), &producer);
    let send = async |number| producer.send(message(number, 64)).await.map(|()| number);
    let sending = async {
        let (mut numbers, mut sends) = (0.., FuturesUnordered::new());
        loop {
            while sends.len() < IN_FLIGHT {
                sends.extend(numbers.next().map(send));
            }
            match sends.next().await {
                Some(Ok(number)) => confirmed.borrow_mut().insert(number),
                // The connection is gone, and with it all that is in flight.
                _ => return confirmed.borrow().len(),
            };
        }
    };
    let killing = async {
        while confirmed.borrow().len() < BEFORE {
            tokio::task::yield_now().await;
        }
        server.restart().await
    };
    let (count, restarted) = tokio::join!(sending, killing);
    restarted?;
    ensure!(count >= BEFORE, "only {count} messages were confirmed before the kill");

    let lab = QueueStomp::open(&there.place()).await?;
    let last = lab.producer().await?;
    let (mut consumer, mut came) = (lab.consumer(1_000).await?, BTreeSet::new());
    // After a kill RabbitMQ flags all that it has as redelivered, and the lab sends it again, behind
    // the first of these and before the second.
    for end in [u64::MAX, u64::MAX - 1] {
        there.soon("the last message is confirmed", last.send(message(end, 64))).await?;
        while !came.contains(&end) {
            let delivery = next(&there, &mut consumer).await?;
            came.insert(number(&delivery.item)?);
            consumer.ack(delivery.receipt).await?;
        }
        there.soon("all is settled", consumer.flush()).await?;
    }
    consumer.close().await?;
    server.stop().await?;
    drop(dir);
    Ok((confirmed.take(), came))
}

/// What the lab's opening says that a receipt does not say. Should this fail one
/// day, RabbitMQ has become better than the lab says.
async fn gone(site: Site) -> Result<()> {
    let lab = QueueStomp::open(&site.place()).await?;
    let producer = lab.producer().await?;
    producer.send(message(1, 64)).await?;
    QueueStomp::remove(&site.place()).await?;
    site.soon("a receipt for a message without a queue", producer.send(message(2, 64))).await?;
    let mut consumer = lab.consumer(1).await?;
    producer.send(message(3, 64)).await?;
    let came = number(&next(&site, &mut consumer).await?.item)?;
    ensure!(came == 3, "message {came} came, and 3 was due: who has kept it?");
    consumer.close().await
}

/// Frames as one would type them, in and out.
async fn keyboard(site: Site) -> Result<()> {
    let place = site.place();
    let destination = format!("/queue/{}", place.name());
    let lab = OneWayStomp::open(&place).await?;
    let mut receiver = lab.receiver().await?;
    let mut typed = connect(&place).await?;
    typed.write_all(format!("SEND\r\ndestination:{destination}\r\n\r\nhello\0\n").as_bytes()).await?;
    let came = site.soon("what was typed comes", receiver.recv()).await?;
    ensure!(came.as_deref() == Some(b"hello"), "{came:?} came where `hello` was due");
    drop(receiver);

    let subscribe = format!("SUBSCRIBE\nid:me\ndestination:{destination}\nreceipt:joined\n\n\0");
    typed.write_all(subscribe.as_bytes()).await?;
    site.soon("the receipt comes", until(&mut typed, "receipt-id:joined\n")).await?;
    let mut sender = lab.sender().await?;
    sender.send("bye".into()).await?;
    sender.flush().await?;
    let shown = site.soon("what was sent is shown", until(&mut typed, "\n\nbye\0")).await?;
    ensure!(shown.contains(&format!("destination:{destination}\n")), "it is shown as {shown:?}");
    sender.close().await
}

/// Requests without a return address, and with nonsense for one.
async fn poison(site: Site) -> Result<()> {
    let place = site.place();
    let lab = ReqRepStomp::open(&place).await?;
    let (requester, mut responder) = tokio::try_join!(lab.requester(), lab.responder())?;
    let mut typed = connect(&place).await?;
    for address in ["", "reply-to:\n", "reply-to:/queue/\n", "reply-to:/topic\n", "reply-to:/exchange\n"] {
        let frame = format!("SEND\ndestination:/queue/{}\n{address}receipt:in\n\npoison\0", place.name());
        typed.write_all(frame.as_bytes()).await?;
        let seen = site.soon("RabbitMQ answers", until(&mut typed, "\0")).await?;
        if seen.contains("ERROR") {
            typed = connect(&place).await?;
        }
    }
    let serving = async {
        loop {
            let (request, to) = responder.next().await?.context("nobody can ask")?;
            ensure!(request.as_ref() != b"poison".as_slice(), "a request that cannot be answered came");
            responder.reply(to, request.0.into()).await?;
        }
    };
    let asking = async {
        tokio::select! {
            biased;
            reply = requester.ask("well?".into()) => reply,
            ended = serving => { ended?; bail!("the responder ended") }
        }
    };
    let reply = site.soon("a good request is answered", asking).await?;
    ensure!(reply.as_ref() == b"well?".as_slice(), "another's reply");
    Ok(())
}

async fn connect(place: &Place) -> Result<TcpStream> {
    let endpoint = place.endpoint("stomp")?;
    let (user, password) = endpoint.login.context("no login")?;
    let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let frame = format!("CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:{password}\n\n\0");
    stream.write_all(frame.as_bytes()).await?;
    ensure!(until(&mut stream, "\0").await?.contains("CONNECTED"), "no connection");
    Ok(stream)
}

/// Reads until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> Result<String> {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        ensure!(stream.read_buf(&mut seen).await? > 0, "RabbitMQ has closed the connection: {seen:?}");
    }
    Ok(String::from_utf8_lossy(&seen).into_owned())
}
