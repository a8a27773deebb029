//! Carries out what a user does to a running lab.

use labs::topic::Topic;

use super::act::{Act, LONGEST_TEXT};
use super::cast::{self, Member, State};
use super::session::{SLOW_MS, Session, USUAL_MS};
use crate::measure::clock;
use crate::replay::{PROBE, ReplayWhat};

impl Session<'_> {
    /// Does what the user wants, or says why not.
    pub(super) async fn act(&mut self, act: Act) -> Result<(), String> {
        let said = |error: anyhow::Error| labs::printable::causes(&error);
        match act {
            Act::Send { text, topic } => {
                if text.chars().count() > LONGEST_TEXT {
                    return Err(format!("the text has more than {LONGEST_TEXT} characters"));
                }
                let topic = topic.filter(|topic| !topic.is_empty());
                if let Some(topic) = &topic {
                    Topic::new(topic).map_err(|error| format!("`{topic}` cannot be a topic: {error}"))?;
                }
                if text.starts_with(PROBE) {
                    return Err(format!("texts that begin with `{PROBE}` are the program's own"));
                }
                self.send(text.trim(), topic)
            }
            Act::Auto { on } => {
                self.auto = on;
                Ok(())
            }
            Act::Join => {
                self.possible()["join"].clone()?;
                let kind = cast::joins(&self.run.handle.entry);
                let index = self.cast.values().filter(|member| member.kind == kind).count();
                self.add(kind, index).map_err(said)
            }
            Act::Kill { role } => self.kill(&role).await,
            Act::Restart { role } => {
                let member = self.can(&role, "restart")?;
                let init = self.run.init_again(member.number, member.index);
                self.begin(init).map_err(said)
            }
            Act::Pause { role } => self.pause(&role, true),
            Act::Resume { role } => self.pause(&role, false),
            Act::Slow { role } => self.slow(&role, true),
            Act::Quick { role } => self.slow(&role, false),
            Act::Cut => {
                self.possible()["cut"].clone()?;
                self.run.cut();
                Ok(())
            }
            Act::KillBroker => {
                self.possible()["kill-broker"].clone()?;
                self.run.kill_broker().map_err(said)?;
                self.broker_runs = false;
                Ok(())
            }
            Act::RestartBroker => {
                self.possible()["restart-broker"].clone()?;
                self.run.restart_broker().await.map_err(said)?;
                self.broker_runs = true;
                Ok(())
            }
        }
    }

    /// A role, if this can be done to it.
    fn can(&self, role: &str, act: &str) -> Result<Member, String> {
        let there = || self.cast.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let member =
            self.cast.get(role).ok_or_else(|| format!("there is no `{role}`; there are {}", there()))?;
        cast::possible(&self.run.handle.entry, member)[act].clone()?;
        Ok(member.clone())
    }

    async fn kill(&mut self, role: &str) -> Result<(), String> {
        let member = self.can(role, "kill")?;
        // A thread cannot be killed: it leaves by its own will.
        let gone = match self.run.handle.entry.in_process() {
            true => self.run.leave(member.number).await,
            false => self.run.kill(member.number).await,
        };
        self.look();
        gone.map_err(|error| labs::printable::causes(&error))
    }

    pub(super) fn pause(&mut self, role: &str, pause: bool) -> Result<(), String> {
        let member = self.can(role, if pause { "pause" } else { "resume" })?;
        self.run.pause(member.number, pause).map_err(|error| labs::printable::causes(&error))?;
        if let Some(member) = self.cast.get_mut(role) {
            member.state = if pause { State::Paused } else { State::There };
        }
        Ok(())
    }

    fn slow(&mut self, role: &str, slow: bool) -> Result<(), String> {
        self.can(role, if slow { "slow" } else { "quick" })?;
        self.work(role, slow);
        let (what, text) = match slow {
            true => (ReplayWhat::Slowed, format!("{:.1} s for each message", SLOW_MS as f64 / 1e3)),
            false => (ReplayWhat::Quick, format!("{USUAL_MS} ms for each message")),
        };
        self.run.recorder.add(clock::now(), role, what, &text);
        Ok(())
    }
}
