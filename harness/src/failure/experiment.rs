//! One run of a scenario: its broker, its parts, and what was found.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use labs::lab::Broker;

use crate::broker::{Needs, Options, Server, Source};
use crate::process::guard;
use crate::replay::{Keep, Replay};
use crate::results::{Check, Fact, Outcome, ScenarioPart};
use crate::roles::Handle;

/// Where brokers come from.
pub type Sources = BTreeMap<Broker, Source>;

/// What roles are played for.
#[derive(Debug, Clone)]
pub(crate) struct Purpose {
    /// What the names of their places begin with.
    pub(crate) place: &'static str,
    /// The command that plays them again.
    pub(crate) command: String,
    /// Which messages the replay keeps.
    pub(crate) keep: Keep,
}

impl Purpose {
    /// A scenario, or the scenes of a prediction.
    pub(crate) const fn lesson(command: String) -> Self {
        Self { place: "lab-break", command, keep: Keep::First }
    }
}

/// A scenario that is being played over one lab.
pub(crate) struct Experiment {
    pub(crate) handle: Handle,
    /// Knobs set from outside; those of a part come on top.
    pub(crate) knobs: BTreeMap<String, usize>,
    pub(crate) server: Option<Server>,
    /// How the broker that runs was started.
    started: (bool, Vec<(String, String)>),
    sources: Sources,
    /// The broker of a run that is over.
    pub(crate) over: Option<String>,
    pub(crate) checks: Vec<Check>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) parts: Vec<ScenarioPart>,
    /// A replay of each part in which roles were played by hand, and of each run of the fault engine.
    pub(crate) replays: Vec<Replay>,
    pub(crate) purpose: Purpose,
    tell: Box<dyn FnMut(&str)>,
}

impl Experiment {
    pub(crate) fn new(
        handle: Handle,
        knobs: BTreeMap<String, usize>,
        sources: Sources,
        purpose: Purpose,
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
            replays: Vec::new(),
            purpose,
            tell,
        }
    }

    /// A line of the story.
    pub(crate) fn tell(&mut self, line: &str) {
        (self.tell)(line);
    }

    /// Starts the lab's broker with these settings, unless it runs with them already.
    pub(crate) async fn broker(&mut self, durable: bool, settings: &[(&str, &str)]) -> Result<()> {
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
    pub(crate) fn own_broker(&self) -> Result<()> {
        let broker = self.handle.entry.broker;
        match broker.and_then(|broker| self.sources.get(&broker)) {
            Some(source) if !source.is_private() => {
                bail!("this scenario kills the broker, and does not do that to your own; leave out --url")
            }
            _ => Ok(()),
        }
    }

    /// Notes whether something is as it should be.
    pub(crate) fn check(&mut self, claim: &str, seen: impl Into<String>, outcome: Outcome) {
        self.checks.push(Check { claim: claim.to_owned(), seen: seen.into(), outcome });
    }

    /// The same where there are two answers.
    pub(crate) fn holds(&mut self, claim: &str, seen: impl Into<String>, holds: bool) {
        self.check(claim, seen, if holds { Outcome::Holds } else { Outcome::DoesNotHold });
    }

    /// The same where the answer means something only when the fault has hit.
    pub(crate) fn holds_if(&mut self, hit: bool, claim: &str, seen: impl Into<String>, holds: bool) {
        if hit { self.holds(claim, seen, holds) } else { self.check(claim, seen, Outcome::CannotTell) }
    }

    /// Notes a figure.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push(Fact { name: name.to_owned(), value: value.into() });
    }

    /// Where brokers come from, for runs of the fault engine, which starts its own.
    pub(crate) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// A broker that such a run had, and that is gone.
    pub(crate) fn is_over(&mut self, broker: Option<(String, String)>) {
        self.over = broker.map(|(name, version)| format!("{name} {version}"));
    }

    /// Ends the broker.
    pub(crate) async fn close(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// `12.3 ms`.
pub(crate) fn ms(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}
