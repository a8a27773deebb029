//! Plays the steps of a scenario with real roles, and prints what the roles report.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use labs::lab::BrokerAddress;
use serde_json::json;

use crate::roles::Handle;
use crate::roles::protocol::{Event, FromRole, Init, Kind, RoleCommand, ToRole, What};
use crate::supervisor::{Heard, Roles};

/// How long a scenario waits for what should happen next.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How a scenario is printed.
pub(crate) struct OutputOptions {
    /// Print one JSON object per line instead of prose.
    pub(crate) json: bool,
    /// Pause before each step.
    pub(crate) pace: Duration,
}

/// A scenario that is being played.
pub(super) struct Scenario<'a> {
    pub(super) handle: &'a Handle,
    pub(super) output: &'a OutputOptions,
    pub(super) roles: Roles,
    pub(super) name: String,
    pub(super) address: Option<&'a BrokerAddress>,
    /// Everything that happened, and to whom.
    pub(super) heard: Vec<(String, Event)>,
}

impl Scenario<'_> {
    pub(super) fn start(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        let init = Init {
            lab: self.handle.entry.name.clone(),
            kind,
            index,
            senders: 1,
            receivers: 1,
            run: 0,
            name: self.name.clone(),
            address: self.address.cloned(),
            // One at a time, so that a small scenario shows what a large load would.
            knobs: BTreeMap::from([
                ("prefetch".to_owned(), 1),
                ("credit".to_owned(), 1),
                ("depth".to_owned(), 1),
            ]),
            bind: BTreeMap::new(),
            filter: filter.map(str::to_owned),
            measure: None,
        };
        self.roles.add(self.handle, init)
    }

    pub(super) async fn enter(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        self.pause().await;
        let number = self.start(kind, index, filter)?;
        // Peer to peer, the connecting roles need the binders' addresses first.
        let with = filter.map(|filter| format!(" with the filter {filter}")).unwrap_or_default();
        self.joined(&[number]).await?;
        if !with.is_empty() {
            let name = self.roles.all[number].name.clone();
            self.direct(&name, &format!("subscribes{with}"));
        }
        Ok(number)
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
        self.pause().await;
        self.say_quietly(number, text, topic);
        // Its report of this comes before the next step is printed.
        let name = self.roles.all[number].name.clone();
        let before = self.heard.iter().filter(|(role, _)| *role == name).count();
        self.wait(|scenario| scenario.heard.iter().filter(|(role, _)| *role == name).count() > before).await;
    }

    pub(super) fn say_quietly(&mut self, number: usize, text: &str, topic: Option<&str>) {
        let act = RoleCommand::Say { text: text.into(), topic: topic.map(str::to_owned) };
        self.roles.tell(number, ToRole::Command(act));
    }

    pub(super) async fn act(&mut self, number: usize, act: RoleCommand, what: &str) {
        self.pause().await;
        let name = self.roles.all[number].name.clone();
        self.direct(&name, what);
        self.roles.tell(number, ToRole::Command(act));
    }

    /// A role goes away by its own will.
    pub(super) async fn leave(&mut self, number: usize) -> Result<()> {
        self.pause().await;
        let name = self.roles.all[number].name.clone();
        self.direct(&name, "goes away");
        self.roles.tell(number, ToRole::Stop);
        self.wait(|scenario| scenario.roles.all[number].left).await;
        if !self.roles.all[number].left {
            bail!("{name} did not leave");
        }
        Ok(())
    }

    pub(super) async fn pause(&mut self) {
        let pace = self.output.pace;
        if !pace.is_zero() {
            self.wait_for(pace, |_| false).await;
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
                Heard::Line(FromRole::Ready) => self.line(&name, "joined", "", None),
                Heard::Line(FromRole::Event(event)) => {
                    self.show(&name, &event);
                    self.heard.push((name, event));
                }
                Heard::Line(FromRole::Failed { error }) => self.line(&name, "failed", &error, None),
                Heard::Left(Some(why)) => self.line(&name, "is gone", &why, None),
                Heard::Left(None) => self.line(&name, "left", "", None),
                Heard::Line(_) => {}
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

    fn show(&self, role: &str, event: &Event) {
        let what = match event.what {
            What::Requested if role.starts_with("requester") => "asked".to_owned(),
            What::Requested => "was asked".to_owned(),
            What::Replied if role.starts_with("requester") => "got the reply".to_owned(),
            What::Received if event.attempt.is_some_and(|attempt| attempt > 1) => "received again".to_owned(),
            what => format!("{what:?}").to_lowercase(),
        };
        let mut text = event.text.to_string();
        if let Some(topic) = &event.topic {
            text = format!("{topic}: {text}");
        }
        if let (Some(about), What::Replied) = (&event.about, event.what) {
            text = format!("{text}   (to: {about})");
        }
        self.line(role, &what, &text, Some(event));
    }

    fn line(&self, role: &str, what: &str, text: &str, event: Option<&Event>) {
        if self.output.json {
            self.print(&json!({ "role": role, "what": what, "text": text, "event": event }).to_string());
        } else {
            self.print(format!("  {role:<14} {what:<15} {text}").trim_end());
        }
    }

    /// Prints an instruction to a role, or an action on it.
    pub(super) fn direct(&self, role: &str, what: &str) {
        match self.output.json {
            true => self.print(&json!({ "direction": role, "text": what }).to_string()),
            false => self.print(&format!("  → {role} {what}")),
        }
    }

    /// Prints a conclusion from the reports.
    pub(super) fn conclude(&self, what: &str) {
        match self.output.json {
            true => self.print(&json!({ "conclusion": what }).to_string()),
            false => self.print(&format!("  = {what}")),
        }
    }

    pub(super) fn narrate(&self, what: &str) {
        self.direct("", what);
    }

    fn print(&self, line: &str) {
        // The reader of the output has closed it. The scenario still runs to its end.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}
