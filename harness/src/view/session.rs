//! Holds the roles of a view and their states.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use labs::queue::Depth;
use tokio::task::JoinHandle;

use super::cast::{self, Cast, MOST_ROLES, Member, Possible, State};
use super::shared::{Now, Shared};
use crate::failure::{Experiment, LAB, Run};
use crate::measure::clock;
use crate::replay::{PROBE, ReplayWhat};
use crate::roles::protocol::{Init, Kind, RoleCommand, Work};

/// How often the page learns what was recorded, and probes are sent.
pub(super) const TICK: Duration = Duration::from_millis(25);
/// Ticks from one probe of a subscription to the next.
const PROBE_EVERY: u64 = 2;
/// Ticks between two looks at what the broker says that it holds.
const DEPTH_EVERY: u64 = 10;
/// Work on a message, ms: usual, and of a role that was slowed down.
pub(super) const USUAL_MS: u64 = 15;
pub(super) const SLOW_MS: u64 = 1_500;
/// How long a requester waits for a reply, ms.
const REPLY_MS: u64 = 10_000;
/// The most messages that a sender may have been told to send and has not begun to.
const MOST_OPEN: usize = 50;
/// The usual topic, where there are topics.
const TOPIC: &str = "news";
/// Knobs with which a message that nobody finishes is given to another consumer soon.
const SOON: [(&str, usize); 5] =
    [("play-prefetch", 1), ("lease-ms", 2_000), ("claim-ms", 2_000), ("look-ms", 50), ("wait-ms", 50)];

/// A lab that runs.
pub(crate) struct Session<'e> {
    pub(super) run: Run<'e>,
    pub(super) shared: Shared,
    pub(super) cast: Cast,
    sent: u64,
    probes: u64,
    pub(super) auto: bool,
    pub(super) broker_runs: bool,
    tick: u64,
    depth: Asked,
}

/// What the broker says of how many messages it holds.
#[derive(Default)]
struct Asked {
    /// A question that is open.
    open: Option<JoinHandle<Option<Depth>>>,
    /// The last answer.
    last: Option<Depth>,
}

impl<'e> Session<'e> {
    /// Starts the broker and the roles; does not wait for them.
    pub(crate) async fn start(experiment: &'e mut Experiment, title: &str, shared: Shared) -> Result<Self> {
        experiment.usual_broker().await?;
        let handle = experiment.handle.clone();
        let mut run = Run::begin(experiment, handle, title, &SOON)?;
        if !run.handle.entry.in_process() {
            run.through_proxy()?;
        }
        let mut session = Self {
            run,
            shared,
            cast: Cast::new(),
            sent: 0,
            probes: 0,
            auto: false,
            broker_runs: true,
            tick: 0,
            depth: Asked::default(),
        };
        for (kind, index) in cast::first(session.run.handle.entry.pattern) {
            session.add(*kind, *index)?;
        }
        Ok(session)
    }

    pub(super) fn add(&mut self, kind: Kind, index: usize) -> Result<()> {
        let init = Init::by_hand(&self.run.handle.entry.name, kind, index, self.run.name.clone());
        self.begin(init)
    }

    pub(super) fn begin(&mut self, init: Init) -> Result<()> {
        let (name, kind, index) = (init.role(), init.kind, init.index);
        let number = self.run.add(init)?;
        self.cast.insert(name.clone(), Member { number, kind, index, state: State::Starting, slow: false });
        self.work(&name, false);
        Ok(())
    }

    /// Tells a role that works how long it takes.
    pub(super) fn work(&mut self, name: &str, slow: bool) {
        let Some(member) = self.cast.get_mut(name) else { return };
        member.slow = slow;
        if cast::works(&self.run.handle.entry, member.kind) {
            let work_ms = if slow { SLOW_MS } else { USUAL_MS };
            let number = member.number;
            self.run.work(number, Work { work_ms, quiet: true, ..Work::default() });
        }
    }

    /// Whether everybody has joined.
    pub(super) fn complete(&self) -> bool {
        self.cast.values().all(|member| member.state != State::Starting)
            && self.run.recorder.waiting_for_probe().is_empty()
    }

    /// Hears the roles for a while, as [`Self::play`] does.
    pub(super) async fn listen(&mut self, time: Duration, so: impl Fn(&Self) -> bool) -> bool {
        let end = tokio::time::Instant::now() + time;
        let mut tick = tokio::time::interval(TICK);
        while !so(self) {
            tokio::select! {
                () = self.run.hear() => self.look(),
                _ = tick.tick() => self.pulse(),
                () = tokio::time::sleep_until(end) => return false,
            }
        }
        true
    }

    /// Probes subscriptions that nothing confirms, and tells the page what is new.
    pub(super) fn pulse(&mut self) {
        self.tick += 1;
        if self.tick.is_multiple_of(PROBE_EVERY)
            && !self.run.recorder.waiting_for_probe().is_empty()
            && let Some(number) = self.sender()
        {
            self.probes += 1;
            let text = format!("{PROBE}-{}", self.probes);
            self.run.tell(number, RoleCommand::Say { text: text.into(), topic: Some(TOPIC.to_owned()) });
        }
        if self.tick.is_multiple_of(DEPTH_EVERY) && self.broker_runs {
            self.ask_depth();
        }
        self.tell();
    }

    /// Asks the broker how many messages it holds, and notes its answer where it is a new one.
    fn ask_depth(&mut self) {
        match self.depth.open.as_ref().map(JoinHandle::is_finished) {
            None => self.depth.open = self.run.ask_depth(),
            Some(false) => {}
            Some(true) => {
                let answer = self.depth.open.take().and_then(|open| open.now_or_never());
                let Some(Ok(Some(depth))) = answer else { return };
                if self.depth.last.replace(depth) != Some(depth)
                    && let Some(broker) = self.run.handle.entry.broker
                {
                    self.run.recorder.depth(clock::now(), &broker.to_string(), depth.count, depth.asked);
                }
            }
        }
    }

    /// Takes over what the roles are now.
    pub(super) fn look(&mut self) {
        for member in self.cast.values_mut() {
            let role = &self.run.roles.all[member.number];
            if role.left {
                member.state = State::Gone;
            } else if role.ready && member.state == State::Starting {
                member.state = State::There;
            }
        }
    }

    pub(super) fn tell(&mut self) {
        self.run.recorder.release(clock::now(), false);
        let mut now = Now::new(&self.possible(), self.auto);
        for (name, member) in &self.cast {
            let acts = cast::possible(&self.run.handle.entry, member);
            now.role(name, member.state.as_str(), member.slow, &acts);
        }
        self.shared.update(&self.run.recorder, now);
    }

    /// What can be done to the run as a whole.
    pub(super) fn possible(&self) -> Possible {
        let entry = &self.run.handle.entry;
        let sender = cast::first(entry.pattern).iter().find(|(kind, _)| kind.sends());
        let kind = sender.map_or("sender", |(kind, _)| kind.as_str());
        let not = |so: bool, why: String| if so { Err(why) } else { Ok(()) };
        let broker = || match (&entry.broker, self.run.owns_broker()) {
            (None, _) => Err(format!("{} has no broker: its peers talk to each other directly", entry.name)),
            (Some(_), false) => Err("the broker is yours, given by --url: others may use it".to_owned()),
            (Some(_), true) => Ok(()),
        };
        [
            ("send", self.sender().map(drop).ok_or(format!("no {kind} is there; restart it first"))),
            (
                "join",
                not(
                    self.cast.len() >= MOST_ROLES,
                    format!("there are {MOST_ROLES} roles, more are not drawn"),
                ),
            ),
            (
                "cut",
                not(entry.in_process(), "the roles are threads of one process and have no link".to_owned()),
            ),
            ("kill-broker", broker().and_then(|()| not(!self.broker_runs, "it is not running".to_owned()))),
            ("restart-broker", broker().and_then(|()| not(self.broker_runs, "it is running".to_owned()))),
        ]
        .into()
    }

    /// The senders that are there take turns.
    fn sender(&self) -> Option<usize> {
        let senders = self
            .cast
            .values()
            .filter(|member| member.kind.sends() && matches!(member.state, State::There | State::Paused));
        let senders: Vec<usize> = senders.map(|member| member.number).collect();
        senders.get(self.sent as usize % senders.len().max(1)).copied()
    }

    /// Sends a message; an empty text says only its number.
    pub(super) fn send(&mut self, text: &str, topic: Option<String>) -> Result<(), String> {
        self.possible()["send"].clone()?;
        let number = self.sender().ok_or("nobody is there to send")?;
        let begun = self.run.recorder.sent() as u64;
        if self.sent.saturating_sub(begun) >= MOST_OPEN as u64 {
            return Err(format!("{MOST_OPEN} messages wait to be sent; the sender does not keep up"));
        }
        self.sent += 1;
        let name = self.sent.to_string();
        let text = if text.is_empty() { name.clone() } else { format!("{name} {text}") };
        self.run.recorder.name(&text, &name);
        let role = &self.run.roles.all[number];
        let command = match role.kind {
            Kind::Requester => RoleCommand::Ask { text: text.into(), timeout_ms: REPLY_MS },
            Kind::Publisher => {
                RoleCommand::Say { text: text.into(), topic: topic.or_else(|| Some(TOPIC.to_owned())) }
            }
            _ => RoleCommand::Say { text: text.into(), topic: None },
        };
        self.run.tell(number, command);
        Ok(())
    }

    /// The roles that are not there.
    pub(super) fn gone(&self) -> Vec<String> {
        let gone = self.cast.iter().filter(|(_, member)| member.state == State::Gone);
        gone.map(|(name, _)| name.clone()).collect()
    }

    /// A sentence about the run.
    pub(super) fn note(&mut self, text: &str) {
        self.run.recorder.add(clock::now(), LAB, ReplayWhat::Note, text);
    }

    pub(super) const fn recorder(&self) -> &crate::replay::Recorder {
        &self.run.recorder
    }

    pub(super) const fn entry(&self) -> &labs::catalog::Entry {
        &self.run.handle.entry
    }

    /// Ends all roles, and removes what they have left in the broker.
    pub(crate) async fn end(mut self) -> Result<()> {
        // What is paused cannot leave.
        let paused: Vec<String> = self
            .cast
            .iter()
            .filter(|(_, member)| member.state == State::Paused)
            .map(|(name, _)| name.clone())
            .collect();
        for role in paused {
            let _ = self.pause(&role, false);
        }
        self.shared.end();
        self.run.end().await.map(drop).context("the lab did not end well")
    }
}
