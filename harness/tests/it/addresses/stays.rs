//! What stays in the user's own broker: nothing, or what is named with the command that removes it.

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use lapin::options::QueueDeclareOptions;
use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;

use super::reach::{by_hand, words};
use super::run_with_input;
use crate::conformance::Site;
use crate::program::{Live, run};
use crate::wait_until;

/// Roles of different patterns have places of their own; `--forget` removes what they left.
pub(super) fn play() -> Result<()> {
    let site = Site::new("play", Some(Broker::RabbitMq))?;
    let url = format!("rabbitmq={}", site.url()?);
    let played = run_with_input(&["play", "queue-rabbitmq", "producer", "--url", &url], "a\n")?.expect(0)?;
    played.told(&["`lab-play-queue` stays in rabbitmq", "--forget"])?;
    ensure!(!played.err.contains(site.url()?), "the address is shown with its password:\n{}", played.err);
    let mut receiver = Live::start(&["play", "oneway-rabbitmq", "receiver", "--url", &url])?;
    receiver.until_said("receiver is ready")?;
    // Roles of one place meet by its name.
    let place = site.place().name();
    let named = ["play", "oneway-rabbitmq", "sender", "--url", &url, "--place", &place];
    run_with_input(&named, "elsewhere\n")?.expect(0)?;
    run_with_input(&named[..5], "here\n")?.expect(0)?;
    let heard = receiver.lines()?.next().context("nothing came")??;
    ensure!(heard == "here", "`{heard}` came");
    receiver.signal_group(Signal::INT)?;
    receiver.end()?;
    for (lab, role, place) in [
        ("queue-rabbitmq", "producer", "lab-play-queue"),
        ("oneway-rabbitmq", "sender", "lab-play-oneway"),
        ("oneway-rabbitmq", "sender", &*place),
    ] {
        ensure!(exists(site.url()?, place)?, "{place} is not there");
        run(&["play", lab, role, "--forget", "--place", place, "--url", &url])?.expect(0)?;
        ensure!(!exists(site.url()?, place)?, "{place} is still there");
    }
    run(&["play", "oneway-rabbitmq", "sender", "--place", "a b", "--url", &url])?
        .expect(2)?
        .told(&["--place"])
}

fn exists(url: &str, queue: &str) -> Result<bool> {
    harness::roles::runtime(0)?.block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = channel.queue_declare(queue.into(), passive, Default::default()).await.is_ok();
        let _ = connection.close(200, "".into()).await;
        Ok(found)
    })
}

/// Ctrl-C in the warm-up.
pub(super) fn interrupted() -> Result<()> {
    let redis = by_hand(Broker::Redis, "127.0.0.1", |port, _| {
        Ok(words(&format!("--port {port} --bind 127.0.0.1 --save")))
    })?;
    let url = format!("redis=redis://127.0.0.1:{}", redis.port);
    let mut client = ::redis::Client::open(("127.0.0.1", redis.port))?.get_connection()?;
    let mut keys = || -> Result<u64> { Ok(::redis::cmd("DBSIZE").query(&mut client)?) };
    let dir = tempfile::tempdir()?;
    for lab in ["queue-redis-stream", "durable-redis-stream", "pipeline-redis-stream"] {
        let out = dir.path().join(lab);
        let mut live = Live::start(&[
            "bench",
            lab,
            "--no-floor",
            "--warmup",
            "600",
            "--load",
            "100",
            "--url",
            &url,
            "--out",
            crate::program::text(&out)?,
        ])?;
        wait_until("something is in the broker", || {
            ensure!(!live.has_ended()?, "it ended and said:\n{}", live.said());
            Ok(keys()? > 0)
        })?;
        live.signal_group(Signal::INT)?;
        live.end()?.expect(130)?;
        ensure!(keys()? == 0, "{lab} has left {} keys", keys()?);
    }
    let live = Live::start(&["run", "queue-redis-stream", "--hold", "2", "--url", &url])?;
    wait_until("something is in the broker", || Ok(keys()? > 0))?;
    live.signal_group(Signal::INT)?;
    live.end()?.expect(130)?;
    ensure!(keys()? == 0, "the demonstration has left {} keys", keys()?);
    Ok(())
}
