//! What is done to roles, the broker and the links, at its moment.

use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::{ENGINE, Run};
use crate::broker::Server;
use crate::fault::name::{What, Who};
use crate::fault::plan::Injection;
use crate::fault::proxy::Direction;
use crate::fault::steps::{Do, Step};
use crate::measure::clock;
use crate::process;
use crate::results::{EventKind, FaultEvent, Injected};
use crate::roles::protocol::{Init, Kind, kinds};
use crate::trial;

/// What a slow link adds to each way.
const DELAY: Duration = Duration::from_millis(200);
/// What a narrow link lets through each way, bytes a second: less than 500 messages.
const THROTTLE: NonZeroU64 = NonZeroU64::new(8 << 10).unwrap();

impl Run<'_> {
    pub(super) async fn take(
        &mut self,
        step: Step,
        server: &mut Option<&mut Server>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let injection = self.spec.injections[step.injection];
        let fault = injection.fault;
        match step.act {
            Do::Begin => {
                tell(&format!("{fault} begins"));
                let (began, asked) = (self.now(), clock::seconds(injection.at_s));
                let target = self.begin(injection, server)?;
                self.events.push(FaultEvent {
                    at: began,
                    who: ENGINE.to_owned(),
                    what: EventKind::Began,
                    detail: fault.to_string(),
                });
                let done = match fault.what {
                    What::Kill | What::Restart => Some(EventKind::Killed),
                    What::Pause => Some(EventKind::Paused),
                    _ => None,
                };
                if let Some(done) = done {
                    self.note(&target, done, "");
                }
                self.injected.push(Injected {
                    fault: fault.to_string(),
                    target,
                    asked_ns: asked,
                    began_ns: began,
                    healed_ns: began,
                });
                if fault.what != What::Restart && !fault.has_length() {
                    self.healed(step.injection);
                }
            }
            Do::StartAgain => {
                let target = self.injected[step.injection].target.clone();
                tell(&format!("{target} is started again"));
                self.note(&target, EventKind::StartedAgain, "");
                match (fault.who, server) {
                    (Who::Broker, Some(server)) => {
                        let mut restart = std::pin::pin!(server.restart());
                        loop {
                            tokio::select! {
                                biased;
                                (number, heard) = self.roles.hear() => self.heard(number, heard, tell),
                                restarted = &mut restart => break restarted?,
                            }
                        }
                    }
                    _ => self.start_again(injection)?,
                }
                self.healed(step.injection);
            }
            Do::Heal => {
                self.heal(injection, server)?;
                if fault.what == What::Pause {
                    let target = self.injected[step.injection].target.clone();
                    self.note(&target, EventKind::Resumed, "");
                }
                self.healed(step.injection);
            }
        }
        Ok(())
    }

    fn healed(&mut self, injection: usize) {
        let injected = &mut self.injected[injection];
        // A kill or a cut is over at once.
        if self.spec.injections[injection].fault.what == What::Restart
            || self.spec.injections[injection].fault.has_length()
        {
            injected.healed_ns = clock::now().saturating_sub(self.start);
        }
        let fault = injected.fault.clone();
        self.note(ENGINE, EventKind::Healed, &fault);
    }

    /// Which of the roles a fault hits: its place in `inits`.
    fn role(&self, who: Who, which: u32) -> Result<usize> {
        let all = kinds(self.spec.trial.handle.entry.pattern);
        let kind = match who {
            Who::Sender => all[0],
            Who::Worker => Kind::Worker,
            _ => all[all.len() - 1],
        };
        let of_kind: Vec<usize> = (0..self.inits.len()).filter(|&at| self.inits[at].kind == kind).collect();
        if of_kind.is_empty() {
            bail!("{} has no {kind}", self.spec.trial.handle.entry.name);
        }
        Ok(of_kind[which as usize % of_kind.len()])
    }

    /// Does it; who it was done to.
    fn begin(&mut self, injection: Injection, server: &mut Option<&mut Server>) -> Result<String> {
        let fault = injection.fault;
        match (fault.who, fault.what) {
            (Who::Broker, what) => {
                let server = server.as_mut().context("there is no broker")?;
                match what {
                    What::Pause => server.pause()?,
                    _ => server.kill()?,
                }
                Ok(server.broker().to_string())
            }
            (Who::Link, what) => {
                let direction = if injection.which == 0 { Direction::Up } else { Direction::Down };
                self.links.all(|proxy| match what {
                    What::Cut => proxy.cut(),
                    What::Tear => proxy.tear(),
                    What::Refuse => proxy.refuse(true),
                    What::Delay => proxy.delay(DELAY),
                    What::Throttle => proxy.throttle(THROTTLE),
                    What::Blackhole => proxy.blackhole(direction),
                    _ => {}
                });
                Ok("the link".to_owned())
            }
            (who, what) => {
                let at = self.role(who, injection.which)?;
                let (number, kind, index) = (self.current[at], self.inits[at].kind, self.inits[at].index);
                let role = &self.roles.all[number];
                let (name, pid) = (role.name.clone(), role.pid().context("it has no process of its own")?);
                if what == What::Pause {
                    process::tree(&[pid]).into_iter().for_each(|pid| process::signal(pid, Signal::STOP));
                    return Ok(name);
                }
                self.hit.insert(number);
                if kind.sends() {
                    self.killed_senders.push((u32::try_from(index)?, self.now()));
                }
                self.roles.kill(number)?;
                let (receives, _) = trial::receivers(&self.spec.trial);
                if what == What::Kill && kind == receives {
                    self.gone.insert(u32::try_from(index)?);
                }
                Ok(name)
            }
        }
    }

    /// Starts a role that was killed again, with the account and the addresses that it had.
    fn start_again(&mut self, injection: Injection) -> Result<()> {
        let at = self.role(injection.fault.who, injection.which)?;
        let bind = self.roles.all[self.current[at]].bound.clone();
        let init = Init { bind, restarted: true, ..self.inits[at].clone() };
        self.current[at] = self.roles.add(&self.spec.trial.handle, init)?;
        Ok(())
    }

    fn heal(&mut self, injection: Injection, server: &mut Option<&mut Server>) -> Result<()> {
        match injection.fault.who {
            Who::Broker => server.as_mut().context("there is no broker")?.resume(),
            Who::Link => {
                self.links.all(|proxy| proxy.heal());
                Ok(())
            }
            who => {
                let number = self.current[self.role(who, injection.which)?];
                let pid = self.roles.all[number].pid().context("it has no process of its own")?;
                process::tree(&[pid]).into_iter().for_each(|pid| process::signal(pid, Signal::CONT));
                Ok(())
            }
        }
    }
}
