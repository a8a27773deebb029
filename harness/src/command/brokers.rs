//! The options for the user's own brokers, which all commands share, and the source of a
//! lab's broker.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;
use labs::lab::Broker;

use super::usage::Usage;
use crate::broker::{self, Source};
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
    /// `redis=redis://localhost:6379` or `rabbitmq=amqp://localhost:5672`; or choose where a
    /// private one comes from: `nats=wheel`, `mqtt=embedded`
    #[arg(long = "url", value_name = "BROKER=URL")]
    urls: Vec<String>,
}

impl BrokerArgs {
    pub(crate) fn urls(&self) -> Result<BTreeMap<String, String>> {
        let names: Vec<&str> = Broker::ALL.iter().map(|broker| broker.as_str()).collect();
        let mut urls = BTreeMap::new();
        for text in &self.urls {
            let Some((name, url)) = text.split_once('=') else {
                bail!(Usage(format!(
                    "`{text}` is not BROKER=URL, as in `--url redis=redis://localhost:6379`"
                )));
            };
            let Some(broker) = Broker::ALL.into_iter().find(|broker| broker.as_str() == name) else {
                bail!(Usage(format!("there is no broker `{name}`; the brokers are {}", names.join(", "))));
            };
            if !broker::is_choice(broker, url) {
                bail!(Usage(format!(
                    "`{url}` is not an address of {name}, as in `--url redis=redis://localhost:6379`; \
                     `wheel` is possible for redis and nats, `embedded` for mqtt"
                )));
            }
            urls.insert(name.to_owned(), url.to_owned());
        }
        Ok(urls)
    }
}

/// Where the lab's broker comes from, or why the lab cannot run.
pub(crate) fn source(handle: &Handle, broker: Broker, urls: &BTreeMap<String, String>) -> Result<Source> {
    let source = broker::find(broker, urls)?;
    match source.why_not(broker, handle.entry.guarantee, handle.entry.transport) {
        Some(why) => bail!("{} cannot run: {why}", handle.entry.name),
        None => Ok(source),
    }
}
