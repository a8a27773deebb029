//! One part of a scenario: roles at a place of their own, what is done to them, and what they report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::FutureExt as _;
use labs::lab::{BrokerAddress, Guarantee, Join};

use super::experiment::{Experiment, ms};
use super::log::{Happened, Log};
use super::thinned::thinned;
use crate::broker::Server;
use crate::fault::links::Links;
use crate::measure::clock;
use crate::results::{ScenarioEvent, ScenarioPart, Series};
use crate::roles::protocol::{Burst, Event, FromRole, Init, Kind, RoleCommand, ToRole, What, Work};
use crate::roles::{Handle, knobs};
use crate::supervisor::{Heard, Placement, Roles};
use crate::trial;

/// How long a step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long roles may take to join.
const JOIN: Duration = Duration::from_secs(20);
/// How long roles may take to leave.
const LEAVE: Duration = Duration::from_secs(2);
/// Lines about the same thing, before the story goes on without them.
const TOLD: usize = 6;
/// Lines that are heard before a question is asked again.
pub(super) const MANY: usize = 200;
/// Who does things from outside.
pub(super) const LAB: &str = "lab";
/// What a probe of a subscription begins with.
const PROBE: &str = "probe";

/// Roles at one place.
pub(super) struct Run<'e> {
    pub(super) experiment: &'e mut Experiment,
    pub(super) handle: Handle,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) address: Option<BrokerAddress>,
    pub(super) links: Links,
    pub(super) knobs: BTreeMap<String, usize>,
    pub(super) roles: Roles,
    pub(super) log: Log,
    events: Vec<ScenarioEvent>,
    told: BTreeMap<(String, What), usize>,
    pub(super) series: Vec<Series>,
    start: u64,
    /// Every namespace below the place that roles were given.
    places: Vec<String>,
    /// Roles that were killed on purpose.
    pub(super) killed: BTreeSet<usize>,
}

impl<'e> Run<'e> {
    pub(super) fn begin(
        experiment: &'e mut Experiment,
        handle: Handle,
        title: &str,
        set: &[(&str, usize)],
    ) -> Result<Self> {
        let placement = Placement { threads: handle.entry.in_process(), cpus: Vec::new() };
        let roles = Roles::start(&handle, Vec::new(), placement)?;
        let address = experiment.server.as_ref().map(|server| server.address().clone());
        // A part sets what a lab has, and leaves the rest.
        let known = |name: &str| {
            handle.entry.knobs.iter().chain(knobs(handle.entry.pattern)).any(|knob| knob.name == name)
        };
        let mut knobs: BTreeMap<String, usize> = set
            .iter()
            .filter(|(name, _)| known(name))
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect();
        knobs.extend(experiment.knobs.clone());
        experiment.tell(&format!("\n  {title}"));
        let name = format!("lab-break-{:08x}", trial::run_number());
        Ok(Self {
            experiment,
            handle,
            title: title.to_owned(),
            address,
            links: Links::default(),
            knobs,
            roles,
            log: Log::default(),
            events: Vec::new(),
            told: BTreeMap::new(),
            series: Vec::new(),
            start: clock::now(),
            places: Vec::new(),
            killed: BTreeSet::new(),
            name,
        })
    }

    /// From now on, roles that join reach the broker, or the peer that binds, through a proxy.
    pub(super) fn through_proxy(&mut self) -> Result<()> {
        match &self.address {
            Some(address) => self.address = Some(self.links.broker(address)?),
            None => {
                let links = self.links.clone();
                self.roles.reach_through(move |bound| links.through(bound));
            }
        }
        Ok(())
    }

    /// Sets knobs for the roles that join from now on.
    pub(super) fn set(&mut self, knobs: &[(&str, usize)]) {
        self.knobs.extend(knobs.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    }

    /// Starts a role, and waits until it has joined.
    pub(super) async fn join(&mut self, kind: Kind, index: usize) -> Result<usize> {
        self.join_at(kind, index, None).await
    }

    /// The same at a place of its own, for roles that are to be apart: a partition.
    pub(super) async fn join_at(&mut self, kind: Kind, index: usize, apart: Option<&str>) -> Result<usize> {
        let name = apart.map_or_else(|| self.name.clone(), |apart| format!("{}-{apart}", self.name));
        let init = Init::by_hand(&self.handle.entry.name, kind, index, name);
        self.start(init).await
    }

    /// Starts a role again that has left or was killed: under its name, and at the addresses that it
    /// had bound.
    pub(super) async fn again(&mut self, number: usize, index: usize) -> Result<usize> {
        let (kind, bind) = (self.roles.all[number].kind, self.roles.all[number].bound.clone());
        let init = Init::by_hand(&self.handle.entry.name, kind, index, self.name.clone());
        self.start(Init { bind, ..init }).await
    }

    async fn start(&mut self, init: Init) -> Result<usize> {
        let name = init.name.clone();
        if !self.places.contains(&name) {
            self.places.push(name.clone());
            // What is in a private broker goes with it.
            let own = self.experiment.server.as_ref().filter(|server| !server.is_private());
            trial::note(&self.handle, &name, own.map(Server::address), Vec::new());
        }
        let init = Init { address: self.address.clone(), knobs: self.knobs.clone(), brief: true, ..init };
        let number = self.roles.add(&self.handle, init)?;
        let deadline = tokio::time::Instant::now() + JOIN;
        while !self.roles.all[number].ready {
            let role = &self.roles.all[number];
            if role.left || role.failed {
                bail!("{} could not join: {}", role.name, self.last_words(number));
            }
            if tokio::time::timeout_at(deadline, self.hear()).await.is_err() {
                bail!("{} did not join within {} s", self.roles.all[number].name, JOIN.as_secs());
            }
        }
        Ok(number)
    }

    fn last_words(&self, number: usize) -> String {
        let role = &self.roles.all[number];
        let said = self.events.iter().rev().find(|event| event.who == role.name && event.what == "failed");
        let said = said.map(|event| event.text.clone()).or_else(|| role.crashed.clone());
        said.unwrap_or_else(|| "it left and reported no error".to_owned())
    }

    /// A subscriber that gets messages. Where it cannot tell that its subscription is in effect,
    /// the publisher sends probes until one arrives.
    pub(super) async fn subscribe(&mut self, index: usize, publisher: usize) -> Result<usize> {
        let number = self.join(Kind::Subscriber, index).await?;
        if self.handle.entry.join == Join::Confirmed {
            return Ok(number);
        }
        let name = self.roles.all[number].name.clone();
        // It may have been here before, under the same name.
        let before = self.log.count_of(&name, What::Received, PROBE);
        for probe in 0..100 {
            self.tell(
                publisher,
                RoleCommand::Say { text: format!("{PROBE}-{index}-{probe}").into(), topic: None },
            );
            if self
                .until(Duration::from_millis(100), |log| log.count_of(&name, What::Received, PROBE) > before)
                .await
            {
                return Ok(number);
            }
        }
        bail!("{name} gets none of a hundred messages")
    }

    /// Tells a role what to do.
    pub(super) fn tell(&mut self, number: usize, command: RoleCommand) {
        self.roles.tell(number, ToRole::Command(command));
    }

    /// Tells a role to handle what comes.
    pub(super) fn work(&mut self, number: usize, work: Work) {
        self.tell(number, RoleCommand::Work(work));
    }

    /// Tells a role to send many messages.
    pub(super) fn burst(&mut self, number: usize, burst: Burst) {
        self.tell(number, RoleCommand::Burst(burst));
    }

    /// Listens until `so` is true; returns whether that was in time.
    pub(super) async fn until(&mut self, patience: Duration, so: impl Fn(&Log) -> bool) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        while !so(&self.log) {
            if tokio::time::timeout_at(deadline, self.hear()).await.is_err() {
                return false;
            }
            // Hear all that was reported meanwhile: `so` may take longer than one line.
            for _ in 0..MANY {
                if self.hear().now_or_never().is_none() {
                    break;
                }
            }
        }
        true
    }

    /// Listens until this number has not changed for a while.
    pub(super) async fn until_quiet(&mut self, quiet: Duration, number: impl Fn(&Log) -> usize) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut before = number(&self.log);
        while self.until(quiet, |log| number(log) != before).await && tokio::time::Instant::now() < end {
            before = number(&self.log);
        }
    }

    /// Listens for a while.
    pub(super) async fn listen(&mut self, time: Duration) {
        self.until(time, |_| false).await;
    }

    pub(super) async fn hear(&mut self) {
        let (number, heard) = self.roles.hear().await;
        let name = self.roles.all[number].name.clone();
        match heard {
            Heard::Line(FromRole::Ready) => self.note(&name, "joined", ""),
            Heard::Line(FromRole::Failed { error }) => self.note(&name, "failed", &error),
            Heard::Line(FromRole::Event(event)) => self.heard(&name, event),
            Heard::Left(Some(_)) if self.killed.contains(&number) => self.note(&name, "is gone", ""),
            Heard::Left(Some(why)) => self.note(&name, "is gone", why.lines().next().unwrap_or_default()),
            Heard::Left(None) => self.note(&name, "left", ""),
            Heard::Line(_) => {}
        }
    }

    fn heard(&mut self, role: &str, event: Event) {
        let at = event.at.unwrap_or_else(clock::now);
        let happened = Happened {
            at,
            role: role.to_owned(),
            what: event.what,
            text: event.text.to_string(),
            about: event.about.unwrap_or_default(),
            attempt: event.attempt.unwrap_or(0),
        };
        let again = happened.what == What::Received && happened.attempt > 1;
        let words = match happened.what {
            What::Received if again => "received again".to_owned(),
            What::Again => "did before".to_owned(),
            What::Effect => "did".to_owned(),
            What::ConnectionLost => "lost connection".to_owned(),
            What::Requested if role.starts_with("requester") => "asked".to_owned(),
            What::Requested => "was asked".to_owned(),
            What::Replied if role.starts_with("requester") => "got the reply".to_owned(),
            what => format!("{what:?}").to_lowercase(),
        };
        // Unusual events are always printed.
        let usual = !again && !matches!(happened.what, What::Failed | What::Again | What::Incident);
        let told = self.told.entry((role.to_owned(), happened.what)).or_default();
        *told += usize::from(usual);
        let show = !usual || *told <= TOLD;
        let text = match happened.about.as_str() {
            "" => happened.text.clone(),
            about => format!("{}   (to: {about})", happened.text),
        };
        if show {
            self.print(at, role, &words, &text);
        } else if *told == TOLD + 1 {
            self.print(at, role, "…", "");
        }
        let (who, attempt) = (role.to_owned(), event.attempt.filter(|attempt| *attempt > 0));
        self.events.push(ScenarioEvent {
            at: at.saturating_sub(self.start),
            who,
            what: words,
            text,
            attempt,
        });
        self.log.0.push(happened);
    }

    fn print(&mut self, at: u64, who: &str, what: &str, text: &str) {
        let at = ms(at.saturating_sub(self.start));
        let line = format!("  {at:>12}  {who:<14} {what:<15} {text}");
        self.experiment.tell(line.trim_end());
    }

    /// Something that is seen from outside, or done.
    pub(super) fn note(&mut self, who: &str, what: &str, text: &str) {
        let at = clock::now();
        self.print(at, who, what, text);
        let (who, what, text) = (who.to_owned(), what.to_owned(), text.to_owned());
        self.events.push(ScenarioEvent { at: at.saturating_sub(self.start), who, what, text, attempt: None });
    }

    /// Ends the part: all roles leave, and what they have left in the broker is removed.
    pub(super) async fn end(mut self) -> Result<Log> {
        self.links.all(crate::fault::proxy::Proxy::heal);
        let _ = self.roles.shut_down(LEAVE).await;
        let well = match &mut self.experiment.server {
            Some(server) => server.died().is_none(),
            None => true,
        };
        for name in std::mem::take(&mut self.places) {
            let address = self.experiment.server.as_ref().map(|server| server.address().clone());
            if well {
                let subscribers = self.roles.names(Kind::Subscriber);
                trial::remove(&self.handle, &name, address.as_ref(), subscribers).await?;
            }
            trial::done(&name);
        }
        self.events.sort_by_key(|event| event.at);
        let (events, left_out) = thinned(self.events);
        let part = ScenarioPart { name: self.title, events, left_out, series: self.series };
        self.experiment.parts.push(part);
        Ok(self.log)
    }

    /// When the part began, ns of the clock.
    pub(super) const fn started(&self) -> u64 {
        self.start
    }
}

impl Experiment {
    /// Begins a part: roles of the lab at a place of their own.
    pub(super) async fn part(&mut self, name: &str, knobs: &[(&str, usize)]) -> Result<Run<'_>> {
        self.usual_broker().await?;
        let handle = self.handle.clone();
        Run::begin(self, handle, name, knobs)
    }

    /// Starts the broker as the lab's guarantee needs it, unless one runs.
    pub(super) async fn usual_broker(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let durable = self.handle.entry.guarantee == Guarantee::Durable;
        self.broker(durable, &[]).await
    }
}
