//! The options for the user's own brokers, which all commands share, and the source of a
//! lab's broker.

use std::fmt;

use anyhow::{Result, bail};
use clap::Args;
use labs::catalog::Entry;
use labs::lab::Broker;

use super::usage::Usage;
use crate::broker::{self, Choice, Choices, Needs, Options, Server, Source};
use crate::process::guard;
use crate::roles::Handle;

/// The brokers of these names; all where none is named.
pub(crate) fn brokers_named(names: &[String]) -> Result<Vec<Broker>> {
    let all: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !all.contains(&name.as_str())) {
        bail!(Usage(format!("there is no broker `{name}`; the brokers are {}", all.join(", "))));
    }
    let named = |broker: &Broker| names.is_empty() || names.iter().any(|name| name == broker.as_str());
    Ok(Broker::ALL.into_iter().filter(named).collect())
}

/// The user's own brokers.
#[derive(Debug, Clone, Args)]
pub(crate) struct BrokerArgs {
    /// Use your own broker instead of a private one, as in
    /// `redis=redis://localhost:6379` or `rabbitmq=amqp://localhost:5672`; with `@FILE` the address
    /// is read from a file, so that nobody sees a password in it; or choose where a
    /// private one comes from: `nats=wheel`, `mqtt=embedded`
    #[arg(long = "url", value_name = "BROKER=URL")]
    urls: Vec<Given>,
}

/// What was typed, which may have a password in it.
#[derive(Clone)]
pub(crate) struct Given(pub(crate) String);

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl BrokerArgs {
    pub(crate) fn choices(&self) -> Result<Choices> {
        let names: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
        let mut choices = Choices::new();
        for Given(text) in &self.urls {
            let named = text.split_once('=').filter(|(name, _)| !name.contains(':'));
            let Some((name, url)) = named else {
                bail!(Usage("--url takes BROKER=URL, as in `--url redis=redis://localhost:6379`".to_owned()));
            };
            let Some(broker) = Broker::ALL.into_iter().find(|broker| broker.as_str() == name) else {
                bail!(Usage(format!("there is no broker `{name}`; the brokers are {}", names.join(", "))));
            };
            let choice =
                Choice::parse(broker, url).map_err(|error| Usage(format!("--url {name}=…: {error:#}")))?;
            choices.insert(broker, choice);
        }
        Ok(choices)
    }
}

/// Where the lab's broker comes from, or why the lab cannot run.
pub(crate) fn source(handle: &Handle, broker: Broker, choices: &Choices) -> Result<Source> {
    let source = broker::find(broker, choices)?;
    match source.why_not(broker, handle.entry.guarantee, handle.entry.transport) {
        Some(why) => bail!("{} cannot run: {why}", handle.entry.name),
        None => Ok(source),
    }
}

/// Starts the lab's broker, or asks the user's own, and says why the lab cannot run over it.
pub(crate) async fn start(entry: &Entry, broker: Broker, source: &Source, durable: bool) -> Result<Server> {
    let options = Options { durable, dir: &guard::session_dir(), settings: &[] };
    let server = Server::start(broker, source, &options).await?;
    match server.why_not(Needs::of(entry.broker_since, entry.broker_features)) {
        Some(why) => bail!("{} cannot run over {}: {why}", entry.name, server.address()),
        None => Ok(server),
    }
}
