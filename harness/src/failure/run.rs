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
use crate::replay::{Head, Lane, PROBE, Recorder, ReplayWhat};
use crate::results::{ScenarioEvent, ScenarioPart, Series};
use crate::roles::protocol::{Burst, Event, FromRole, Init, Kind, RoleCommand, ToRole, What, Work};
use crate::roles::{Handle, knobs};
use crate::supervisor::{Heard, Placement, Roles};
use crate::trial;

/// How long a step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long roles may take to join.
const JOIN: Duration = Duration::from_secs(20);
/// How long roles may take to leave.
const LEAVE: Duration = Duration::from_secs(2);
/// Lines about the same thing, before the story goes on without them.
const TOLD: usize = 6;
/// Lines that are heard before a question is asked again.
pub(crate) const MANY: usize = 200;
/// Who does things from outside.
pub(crate) const LAB: &str = "lab";

/// Roles at one place.
pub(crate) struct Run<'e> {
    pub(crate) experiment: &'e mut Experiment,
    pub(crate) handle: Handle,
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) address: Option<BrokerAddress>,
    pub(crate) links: Links,
    pub(crate) knobs: BTreeMap<String, usize>,
    pub(crate) roles: Roles,
    pub(crate) log: Log,
    events: Vec<ScenarioEvent>,
    /// For pictures of the messages.
    pub(crate) recorder: Recorder,
    told: BTreeMap<(String, What), usize>,
    pub(crate) series: Vec<Series>,
    start: u64,
    /// Every namespace below the place that roles were given.
    places: Vec<String>,
    /// Roles that were killed on purpose.
    pub(crate) killed: BTreeSet<usize>,
}

impl<'e> Run<'e> {
    pub(crate) fn begin(
        experiment: &'e mut Experiment,
        handle: Handle,
        title: &str,
        set: &[(&str, usize)],
    ) -> Result<Self> {
        let placement = Placement { threads: handle.entry.in_process(), ..Placement::default() };
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
        let name = format!("{}-{:08x}", experiment.purpose.place, trial::run_number());
        let start = clock::now();
        let recorder = recorder(experiment, &handle, title, start);
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
            recorder,
            told: BTreeMap::new(),
            series: Vec::new(),
            start,
            places: Vec::new(),
            killed: BTreeSet::new(),
            name,
        })
    }

    /// From now on, roles that join reach the broker, or the peer that binds, through a proxy.
    pub(crate) fn through_proxy(&mut self) -> Result<()> {
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
    pub(crate) fn set(&mut self, knobs: &[(&str, usize)]) {
        self.knobs.extend(knobs.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    }

    /// Starts a role, and waits until it has joined.
    pub(crate) async fn join(&mut self, kind: Kind, index: usize) -> Result<usize> {
        self.join_at(kind, index, None).await
    }

    /// The same at a place of its own, for roles that are to be apart: a partition.
    pub(crate) async fn join_at(&mut self, kind: Kind, index: usize, apart: Option<&str>) -> Result<usize> {
        let name = apart.map_or_else(|| self.name.clone(), |apart| format!("{}-{apart}", self.name));
        let init = Init::by_hand(&self.handle.entry.name, kind, index, name);
        self.start(init).await
    }

    /// Starts a role again that has left or was killed: under its name, and at the addresses that it
    /// had bound.
    pub(crate) async fn again(&mut self, number: usize, index: usize) -> Result<usize> {
        let init = self.init_again(number, index);
        self.start(init).await
    }

    /// How such a role is started.
    pub(crate) fn init_again(&self, number: usize, index: usize) -> Init {
        let (kind, bind) = (self.roles.all[number].kind, self.roles.all[number].bound.clone());
        let init = Init::by_hand(&self.handle.entry.name, kind, index, self.name.clone());
        Init { bind, ..init }
    }

    async fn start(&mut self, init: Init) -> Result<usize> {
        let number = self.add(init)?;
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

    /// Starts a role and does not wait for it.
    pub(crate) fn add(&mut self, init: Init) -> Result<usize> {
        let name = init.name.clone();
        if !self.places.contains(&name) {
            self.places.push(name.clone());
            // What is in a private broker goes with it.
            let own = self.experiment.server.as_ref().filter(|server| !server.is_private());
            trial::note(&self.handle, &name, own.map(Server::address), Vec::new());
        }
        let init = Init { address: self.address.clone(), knobs: self.knobs.clone(), brief: true, ..init };
        self.roles.add(&self.handle, init)
    }

    fn last_words(&self, number: usize) -> String {
        let role = &self.roles.all[number];
        let said = self.events.iter().rev().find(|event| event.who == role.name && event.what == "failed");
        let said = said.map(|event| event.text.clone()).or_else(|| role.crashed.clone());
        said.unwrap_or_else(|| "it left and reported no error".to_owned())
    }

    /// A subscriber that gets messages. Where it cannot tell that its subscription is in effect,
    /// the publisher sends probes until one arrives.
    pub(crate) async fn subscribe(&mut self, index: usize, publisher: usize) -> Result<usize> {
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
    pub(crate) fn tell(&mut self, number: usize, command: RoleCommand) {
        self.roles.tell(number, ToRole::Command(command));
    }

    /// Tells a role to handle what comes.
    pub(crate) fn work(&mut self, number: usize, work: Work) {
        self.tell(number, RoleCommand::Work(work));
    }

    /// Tells a role to send many messages.
    pub(crate) fn burst(&mut self, number: usize, burst: Burst) {
        self.tell(number, RoleCommand::Burst(burst));
    }

    /// Listens until `so` is true; returns whether that was in time.
    pub(crate) async fn until(&mut self, patience: Duration, so: impl Fn(&Log) -> bool) -> bool {
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
    pub(crate) async fn until_quiet(&mut self, quiet: Duration, number: impl Fn(&Log) -> usize) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut before = number(&self.log);
        while self.until(quiet, |log| number(log) != before).await && tokio::time::Instant::now() < end {
            before = number(&self.log);
        }
    }

    /// Listens for a while.
    pub(crate) async fn listen(&mut self, time: Duration) {
        self.until(time, |_| false).await;
    }

    pub(crate) async fn hear(&mut self) {
        let (number, heard) = self.roles.hear().await;
        let name = self.roles.all[number].name.clone();
        match &heard {
            Heard::Line(FromRole::Ready) => self.recorder.joined(clock::now(), &name),
            Heard::Line(FromRole::Failed { error }) => {
                self.recorder.add(clock::now(), &name, ReplayWhat::Failed, error);
            }
            Heard::Left(_) if self.killed.contains(&number) => {}
            Heard::Left(why) => {
                let why = why.as_deref().unwrap_or_default();
                self.recorder.gone(clock::now(), &name, ReplayWhat::Left, why);
            }
            Heard::Line(_) | Heard::Remote(_) => {}
        }
        match heard {
            Heard::Line(FromRole::Ready) => self.note(&name, "joined", ""),
            Heard::Line(FromRole::Failed { error }) => self.note(&name, "failed", &error),
            Heard::Line(FromRole::Event(event)) => self.heard(&name, event),
            Heard::Left(Some(_)) if self.killed.contains(&number) => self.note(&name, "is gone", ""),
            Heard::Left(Some(why)) => self.note(&name, "is gone", why.lines().next().unwrap_or_default()),
            Heard::Left(None) => self.note(&name, "left", ""),
            Heard::Line(_) | Heard::Remote(_) => {}
        }
    }

    fn heard(&mut self, role: &str, event: Event) {
        let at = event.at.unwrap_or_else(clock::now);
        self.recorder.heard(at, role, &event);
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
    pub(crate) fn note(&mut self, who: &str, what: &str, text: &str) {
        let at = clock::now();
        self.print(at, who, what, text);
        let (who, what, text) = (who.to_owned(), what.to_owned(), text.to_owned());
        self.events.push(ScenarioEvent { at: at.saturating_sub(self.start), who, what, text, attempt: None });
    }

    /// Ends the part: all roles leave, and what they have left in the broker is removed.
    pub(crate) async fn end(mut self) -> Result<Log> {
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
        self.recorder.release(clock::now(), true);
        self.experiment.replays.push(self.recorder.replay());
        self.events.sort_by_key(|event| event.at);
        let (events, left_out) = thinned(self.events);
        let part = ScenarioPart { name: self.title, events, left_out, series: self.series };
        self.experiment.parts.push(part);
        Ok(self.log)
    }

    /// When the part began, ns of the clock.
    pub(crate) const fn started(&self) -> u64 {
        self.start
    }
}

fn recorder(experiment: &Experiment, handle: &Handle, title: &str, start: u64) -> Recorder {
    let server = experiment.server.as_ref();
    let broker = server.map(|server| format!("{} {}", server.broker(), server.version()));
    let head = Head::of(&handle.entry, title.to_owned(), experiment.purpose.command.clone(), broker);
    let mut recorder = Recorder::new(head, experiment.purpose.keep, handle.entry.join == Join::Probed, start);
    if let Some(server) = server {
        recorder.lane(Lane::of_broker(&server.broker().to_string()));
    }
    recorder
}

impl Experiment {
    /// Begins a part: roles of the lab at a place of their own.
    pub(crate) async fn part(&mut self, name: &str, knobs: &[(&str, usize)]) -> Result<Run<'_>> {
        self.usual_broker().await?;
        let handle = self.handle.clone();
        Run::begin(self, handle, name, knobs)
    }

    /// Starts the broker as the lab's guarantee needs it, unless one runs.
    pub(crate) async fn usual_broker(&mut self) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        let durable = self.handle.entry.guarantee == Guarantee::Durable;
        self.broker(durable, &[]).await
    }
}
