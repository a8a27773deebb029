//! The MQTT broker inside this program.

use anyhow::{Context as _, Result, ensure};
use harness::broker::{self, Choice, Options, Server, Source};
use harness::process::runs;
use labs::lab::{Broker, Guarantee};

use super::mqtt::Client;
use super::{empty, listeners};
use crate::lab;

pub(super) async fn lives() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = broker::find(Broker::Mqtt, &[(Broker::Mqtt, Choice::Embedded)].into())?;
    ensure!(source == Source::Embedded, "{source:?}");
    let why = source.refuses(Guarantee::Durable).context("durable labs would run over it")?;
    ensure!(why.contains("in memory") && source.refuses(Guarantee::AtLeastOnce).is_none(), "{why}");
    let options = Options { durable: false, dir: dir.path(), settings: &[] };
    let mut server = Server::start(Broker::Mqtt, &source, &options).await?;
    ensure!(server.version().contains("rumqttd"), "{}", server.version());
    ensure!(server.settings().get("source").is_some_and(|source| source == "embedded"));
    ensure!(server.guarantee_limit().is_some_and(|(most, _)| most < Guarantee::Durable), "no limit");
    let pids = server.pids().context("no pids")?;
    listeners(&pids, 3)?;
    Client::connect(&server, "one")?.publish_retained("kept", "while it lives")?;
    let kept = Client::connect(&server, "other")?.retained("kept")?;
    ensure!(kept.contains("while it lives"), "{kept:?}");
    server.restart().await?;
    Client::connect(&server, "one")?;
    let pids = server.pids().context("no pids")?;
    server.stop().await?;
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it still runs");
    empty(&dir)
}

/// A list that says so.
pub(super) fn is_labelled() -> Result<()> {
    let output = lab(&["doctor", "mqtt", "--json", "--url", "mqtt=embedded"]).output()?;
    let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = &said["brokers"][0];
    ensure!(output.status.success() && found["source"] == "embedded", "{found}");
    Ok(())
}
