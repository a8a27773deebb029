//! RabbitMQ: two private nodes at once.

use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{self, Server, Source};
use harness::process::{runs, tree};
use labs::lab::Broker;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties};

use super::{empty, listeners, start};
use crate::wait_until;

pub(super) async fn pair() -> Result<()> {
    let (one_dir, other_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let begin = std::time::Instant::now();
    let (one, other) =
        tokio::join!(start(Broker::RabbitMq, true, &one_dir), start(Broker::RabbitMq, true, &other_dir));
    let (mut one, other) = (one?, other?);
    println!("two RabbitMQ nodes at once: {:?}", begin.elapsed());
    let Source::Program(program) = broker::find(Broker::RabbitMq, &Default::default())? else {
        bail!("no program")
    };
    ensure!(
        broker::version_of(Broker::RabbitMq, &program)? == one.version(),
        "the package says another version"
    );
    ensure!(one.version().starts_with(|first: char| first.is_ascii_digit()), "version {:?}", one.version());
    let family: Vec<u32> =
        [&one, &other].iter().flat_map(|server| tree(&server.pids().unwrap_or_default())).collect();
    // AMQP, STOMP, MQTT, distribution and epmd, of each.
    listeners(&family, 10)?;
    for protocol in ["stomp", "mqtt"] {
        let port = one.address().endpoint(protocol)?.port;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("nobody listens for {protocol}"))?;
        let seen = one.settings().get(&format!("{protocol} port")).cloned();
        ensure!(seen == Some(format!("{port}, open")), "{protocol}: {seen:?}");
    }

    publish(&one, "kept").await?;
    ensure!(get(&other, "kept").await.is_err(), "one node's queue is in the other");
    let url = one.address().clone();
    let before = std::time::Instant::now();
    one.restart().await?;
    println!("a RabbitMQ node's restart: {:?}", before.elapsed());
    ensure!(*one.address() == url, "another address after the restart");
    let kept = get(&one, "kept").await.context("the queue has gone")?;
    ensure!(kept.as_deref() == Some(&b"body"[..]), "the confirmed message came back as {kept:?}");

    let family: Vec<u32> =
        [&one, &other].iter().flat_map(|server| tree(&server.pids().unwrap_or_default())).collect();
    one.stop().await?;
    drop(other);
    wait_until("every process has ended", || Ok(!family.iter().any(|&pid| runs(pid))))?;
    empty(&one_dir)?;
    empty(&other_dir)
}

async fn publish(server: &Server, queue: &str) -> Result<()> {
    let connection = Connection::connect(server.address().reveal(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), durable, Default::default()).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirmed = channel
        .basic_publish("".into(), queue.into(), BasicPublishOptions::default(), b"body", persistent)
        .await?
        .await?;
    ensure!(confirmed.is_ack(), "{confirmed:?}");
    connection.close(200, "".into()).await?;
    Ok(())
}

async fn get(server: &Server, queue: &str) -> Result<Option<Vec<u8>>> {
    let connection = Connection::connect(server.address().reveal(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    // Passive: a queue that has gone is an error here, and not made anew.
    let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), passive, Default::default()).await?;
    let message = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await?;
    connection.close(200, "".into()).await?;
    Ok(message.map(|message| message.delivery.data.to_vec()))
}
