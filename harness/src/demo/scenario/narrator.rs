//! Plays the steps of a scenario with real roles, and notes what the roles report.

use std::time::Duration;

use anyhow::{Result, bail};
use labs::lab::BrokerAddress;

use super::line::JOINED;
use super::transcript::{OutputOptions, Transcript};
use crate::roles::Handle;
use crate::roles::protocol::{Event, FromRole, Init, Kind, RoleCommand, ToRole, What};
use crate::supervisor::{Heard, Roles};

/// How long a scenario waits for what should happen next.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Knobs for one message at a time, so that a small scenario shows what a large load would.
const ONE_AT_A_TIME: [&str; 3] = ["prefetch", "credit", "depth"];

/// A scenario that is being played.
pub(super) struct Scenario<'a> {
    pub(super) handle: &'a Handle,
    pub(super) output: &'a OutputOptions,
    pub(super) roles: Roles,
    pub(super) name: String,
    pub(super) address: Option<&'a BrokerAddress>,
    /// Everything that happened, and to whom.
    pub(super) heard: Vec<(String, Event)>,
    /// The same, and what was done, as it is printed.
    pub(super) transcript: Transcript,
}

impl Scenario<'_> {
    pub(super) fn start(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        let init = Init {
            address: self.address.cloned(),
            knobs: ONE_AT_A_TIME.map(|knob| (knob.to_owned(), 1)).into(),
            filter: filter.map(str::to_owned),
            ..Init::by_hand(&self.handle.entry.name, kind, index, self.name.clone())
        };
        self.roles.add(self.handle, init)
    }

    pub(super) async fn enter(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        self.hold().await;
        if let Some(filter) = filter {
            self.direct(&format!("{kind}-{index}"), &format!("subscribes with the filter {filter}"));
        }
        let number = self.start(kind, index, filter)?;
        self.joined(&[number]).await?;
        Ok(number)
    }

    /// Says which of the lab's knobs the scenario sets.
    pub(super) fn tell_knobs(&mut self) {
        let set = self.handle.entry.knobs.iter().filter(|knob| ONE_AT_A_TIME.contains(&knob.name));
        let set: Vec<String> =
            set.map(|knob| format!("{}=1 (default {})", knob.name, knob.default)).collect();
        if !set.is_empty() {
            self.direct("", &format!("knobs: {}", set.join(", ")));
        }
    }

    pub(super) async fn joined(&mut self, numbers: &[usize]) -> Result<()> {
        let numbers = numbers.to_vec();
        let all = |scenario: &Self| {
            numbers.iter().all(|&n| scenario.roles.all[n].ready || scenario.roles.all[n].left)
        };
        self.wait_for(Duration::from_secs(30), all).await;
        for &number in &numbers {
            let role = &self.roles.all[number];
            if !role.ready {
                bail!("{} could not join", role.name);
            }
        }
        Ok(())
    }

    pub(super) async fn say(&mut self, number: usize, text: &str, topic: Option<&str>) {
        self.hold().await;
        self.say_quietly(number, text, topic);
        // Its report of this comes before the next step.
        let name = self.roles.all[number].name.clone();
        let before = self.heard.iter().filter(|(role, _)| *role == name).count();
        self.wait(|scenario| scenario.heard.iter().filter(|(role, _)| *role == name).count() > before).await;
    }

    pub(super) fn say_quietly(&mut self, number: usize, text: &str, topic: Option<&str>) {
        let act = RoleCommand::Say { text: text.into(), topic: topic.map(str::to_owned) };
        self.roles.tell(number, ToRole::Command(act));
    }

    pub(super) async fn act(&mut self, number: usize, act: RoleCommand, what: &str) {
        self.hold().await;
        let name = self.roles.all[number].name.clone();
        self.direct(&name, what);
        self.roles.tell(number, ToRole::Command(act));
    }

    /// A role goes away by its own will.
    pub(super) async fn leave(&mut self, number: usize) -> Result<()> {
        self.hold().await;
        let name = self.roles.all[number].name.clone();
        self.direct(&name, "goes away");
        self.roles.tell(number, ToRole::Stop);
        self.wait(|scenario| scenario.roles.all[number].left).await;
        if !self.roles.all[number].left {
            bail!("{name} did not leave");
        }
        Ok(())
    }

    pub(super) async fn hold(&mut self) {
        let hold = self.output.hold;
        if !hold.is_zero() {
            self.wait_for(hold, |_| false).await;
        }
    }

    /// Reads reports until `done`, or until the time is over.
    pub(super) async fn wait(&mut self, done: impl Fn(&Self) -> bool) {
        self.wait_for(PATIENCE, done).await;
    }

    pub(super) async fn wait_for(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + patience;
        while !done(self) {
            let Ok((number, heard)) = tokio::time::timeout_at(deadline, self.roles.hear()).await else {
                return;
            };
            let name = self.roles.all[number].name.clone();
            match heard {
                Heard::Line(FromRole::Ready) => self.transcript.seen(&name, JOINED, ""),
                Heard::Line(FromRole::Event(event)) => {
                    self.transcript.reported(&name, &event);
                    self.heard.push((name, event));
                }
                Heard::Line(FromRole::Failed { error }) => self.transcript.seen(&name, "failed", &error),
                Heard::Left(Some(why)) => self.transcript.seen(&name, "is gone", &why),
                Heard::Left(None) => self.transcript.seen(&name, "left", ""),
                Heard::Line(_) | Heard::Remote(_) => {}
            }
        }
    }

    pub(super) fn gone(&self, role: &str) -> bool {
        self.roles.all.iter().any(|other| other.name == role && other.left)
    }

    /// The texts of what happened to a role.
    pub(super) fn of(&self, role: &str, what: What) -> Vec<String> {
        let heard = self.heard.iter().filter(|(who, event)| who == role && event.what == what);
        heard.map(|(_, event)| event.text.to_string()).collect()
    }

    pub(super) fn count(&self, role: &str, what: What, text: &str) -> usize {
        self.of(role, what).iter().filter(|heard| *heard == text).count()
    }

    /// Notes an instruction to a role, or an action on it.
    pub(super) fn direct(&mut self, role: &str, what: &str) {
        self.transcript.direct(role, what);
    }

    /// Notes a conclusion from the reports.
    pub(super) fn conclude(&mut self, what: &str) {
        self.transcript.conclude(what);
    }
}
