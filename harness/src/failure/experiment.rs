//! One run of a scenario: its broker, its parts, and what was found.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use labs::lab::Broker;

use crate::broker::{Needs, Options, Server, Source};
use crate::process::guard;
use crate::results::{Check, Fact, Outcome, ScenarioPart};
use crate::roles::Handle;

/// Where brokers come from.
pub type Sources = BTreeMap<Broker, Source>;

/// A scenario that is being played over one lab.
pub(super) struct Experiment {
    pub(super) handle: Handle,
    /// Knobs set from outside; those of a part come on top.
    pub(super) knobs: BTreeMap<String, usize>,
    pub(super) server: Option<Server>,
    /// How the broker that runs was started.
    started: (bool, Vec<(String, String)>),
    sources: Sources,
    /// The broker of a run that is over.
    pub(super) over: Option<String>,
    pub(super) checks: Vec<Check>,
    pub(super) facts: Vec<Fact>,
    pub(super) parts: Vec<ScenarioPart>,
    tell: Box<dyn FnMut(&str)>,
}

impl Experiment {
    pub(super) fn new(
        handle: Handle,
        knobs: BTreeMap<String, usize>,
        sources: Sources,
        tell: Box<dyn FnMut(&str)>,
    ) -> Self {
        Self {
            handle,
            knobs,
            server: None,
            started: (false, Vec::new()),
            sources,
            over: None,
            checks: Vec::new(),
            facts: Vec::new(),
            parts: Vec::new(),
            tell,
        }
    }

    /// A line of the story.
    pub(super) fn tell(&mut self, line: &str) {
        (self.tell)(line);
    }

    /// Starts the lab's broker with these settings, unless it runs with them already.
    pub(super) async fn broker(&mut self, durable: bool, settings: &[(&str, &str)]) -> Result<()> {
        let Some(broker) = self.handle.entry.broker else { return Ok(()) };
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let wanted = (durable, settings);
        if let Some(server) = &mut self.server {
            let well = server.died().is_none() && (!server.is_private() || self.started == wanted);
            if well {
                return Ok(());
            }
            self.close().await?;
        }
        let source = self.sources.get(&broker).with_context(|| format!("there is no {broker}"))?;
        if source.is_private() {
            (self.tell)(&format!("  starting a private {broker} …"));
        }
        let options = Options { durable, dir: &guard::session_dir(), settings: &wanted.1 };
        let server = Server::start(broker, source, &options).await?;
        let entry = &self.handle.entry;
        if let Some(why) = server.why_not(Needs::of(entry.broker_since, entry.broker_features)) {
            bail!("{} cannot run over {}: {why}", entry.name, server.address());
        }
        self.server = Some(server);
        self.started = wanted;
        Ok(())
    }

    /// Whether the broker may be killed and paused: it is private.
    pub(super) fn own_broker(&self) -> Result<()> {
        let broker = self.handle.entry.broker;
        match broker.and_then(|broker| self.sources.get(&broker)) {
            Some(source) if !source.is_private() => {
                bail!("this scenario kills the broker, and does not do that to your own; leave out --url")
            }
            _ => Ok(()),
        }
    }

    /// Notes whether something is as it should be.
    pub(super) fn check(&mut self, claim: &str, seen: impl Into<String>, outcome: Outcome) {
        self.checks.push(Check { claim: claim.to_owned(), seen: seen.into(), outcome });
    }

    /// The same where there are two answers.
    pub(super) fn holds(&mut self, claim: &str, seen: impl Into<String>, holds: bool) {
        self.check(claim, seen, if holds { Outcome::Holds } else { Outcome::DoesNotHold });
    }

    /// The same where the answer means something only when the fault has hit.
    pub(super) fn holds_if(&mut self, hit: bool, claim: &str, seen: impl Into<String>, holds: bool) {
        if hit { self.holds(claim, seen, holds) } else { self.check(claim, seen, Outcome::CannotTell) }
    }

    /// Notes a figure.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push(Fact { name: name.to_owned(), value: value.into() });
    }

    /// Where brokers come from, for runs of the fault engine, which starts its own.
    pub(super) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// A broker that such a run had, and that is gone.
    pub(super) fn is_over(&mut self, broker: Option<(String, String)>) {
        self.over = broker.map(|(name, version)| format!("{name} {version}"));
    }

    /// Ends the broker.
    pub(super) async fn close(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// `12.3 ms`.
pub(super) fn ms(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}
