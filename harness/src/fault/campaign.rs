//! Many runs under faults, one after the other: each needs a broker that is well, and says what
//! came of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use labs::lab::{Broker, Guarantee};

use super::account::account;
use super::plan::Injection;
use super::run::{self, FaultSpec};
use crate::broker::{Needs, Options, Server, Source};
use crate::process::guard;
use crate::results::{Arrivals, FaultRun, Load};
use crate::roles::Handle;
use crate::supervisor::Placement;
use crate::trial::{Spec, TrialOptions};

/// One run that is to be made.
#[derive(Clone)]
pub struct Job {
    /// The lab.
    pub handle: Handle,
    /// Knobs set from outside.
    pub knobs: BTreeMap<String, usize>,
    /// What is done to it, in the order of time.
    pub injections: Vec<Injection>,
    /// Seed of everything random.
    pub seed: u64,
    /// Offered load, messages a second.
    pub rate: f64,
    /// Declared message size, bytes.
    pub size: usize,
    /// Senders.
    pub senders: usize,
    /// Receivers; workers, for a pipeline.
    pub receivers: usize,
    /// How long messages are sent, seconds.
    pub seconds: f64,
    /// How long the drain may take, seconds.
    pub drain: f64,
    /// The command that repeats it.
    pub command: String,
}

/// The broker that consecutive runs share while it is well.
pub struct Brokers {
    sources: BTreeMap<Broker, Source>,
    settings: Vec<(String, String)>,
    server: Option<(Server, bool)>,
}

impl Brokers {
    /// Where brokers come from, and the settings that private ones get.
    pub fn new(sources: BTreeMap<Broker, Source>, settings: Vec<(String, String)>) -> Self {
        Self { sources, settings, server: None }
    }

    /// What is known of the broker that runs, if one does.
    pub fn version(&self) -> Option<(String, String)> {
        let (server, _) = self.server.as_ref()?;
        Some((server.broker().to_string(), server.version().to_owned()))
    }

    /// A broker that is well, for this lab; `None` for labs without one.
    async fn for_lab(&mut self, handle: &Handle) -> Result<Option<&mut Server>> {
        let entry = &handle.entry;
        let Some(broker) = entry.broker else {
            self.close().await?;
            return Ok(None);
        };
        let durable = entry.guarantee == Guarantee::Durable;
        if let Some((mut server, was_durable)) = self.server.take() {
            let fits = server.broker() == broker && was_durable == durable;
            if fits && server.died().is_none() && server.trouble().await.is_none() {
                self.server = Some((server, durable));
            } else {
                server.stop().await?;
            }
        }
        if self.server.is_none() {
            let source = self.sources.get(&broker).with_context(|| format!("there is no {broker}"))?;
            let options = Options { durable, dir: &guard::session_dir(), settings: &self.settings };
            let server = Server::start(broker, source, &options).await?;
            if let Some(why) = server.why_not(Needs::of(entry.broker_since, entry.broker_features)) {
                anyhow::bail!("{} cannot run over {}: {why}", entry.name, server.address());
            }
            self.server = Some((server, durable));
        }
        Ok(self.server.as_mut().map(|(server, _)| server))
    }

    /// Ends the broker.
    ///
    /// # Errors
    /// When its folder cannot be removed.
    pub async fn close(&mut self) -> Result<()> {
        match self.server.take() {
            Some((server, _)) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// Makes one run.
///
/// # Errors
/// When nothing can be said: the broker does not start, roles never join, a file cannot be read.
pub async fn make(job: &Job, brokers: &mut Brokers, tell: &mut dyn FnMut(&str)) -> Result<FaultRun> {
    let entry = &job.handle.entry;
    let server = brokers.for_lab(&job.handle).await?;
    let limit = server.as_ref().and_then(|server| server.guarantee_limit());
    let limit = limit.filter(|(most, _)| *most < entry.guarantee);
    let limit = limit.into_iter().chain(entry.weaker(&job.knobs)).min_by_key(|(most, _)| *most);
    let guarantee = limit.as_ref().map_or(entry.guarantee, |(most, _)| *most);
    let spec = FaultSpec {
        trial: Spec {
            handle: job.handle.clone(),
            size: job.size,
            load: Load::rate(job.rate, Arrivals::Constant),
            senders: job.senders,
            receivers: job.receivers,
            warmup: 0.0,
            seconds: job.seconds,
            drain: job.drain,
            window: None,
            knobs: job.knobs.clone(),
            seed: job.seed,
            placement: Placement { threads: entry.in_process(), ..Placement::default() },
            null_rate: f64::INFINITY,
            options: TrialOptions { record: true, ..TrialOptions::default() },
        },
        guarantee,
        injections: job.injections.clone(),
    };
    let observed = run::run(&spec, server, tell).await?;
    let account = account(&observed);
    Ok(FaultRun {
        lab: entry.name.clone(),
        pattern: entry.pattern.to_string(),
        transport: entry.transport.to_owned(),
        broker: entry.broker.map(|broker| broker.to_string()),
        guarantee: guarantee.to_string(),
        guarantee_note: limit.map(|(_, why)| why),
        faults: observed.injections,
        seed: job.seed,
        rate_per_s: job.rate,
        size: job.size as u64,
        senders: job.senders,
        receivers: job.receivers,
        command: job.command.clone(),
        times: account.times,
        counts: account.counts,
        series: account.series,
        verdict: account.verdict,
        why: account.why,
        witness: account.witness,
        messages: account.messages,
        events: account.events,
    })
}
