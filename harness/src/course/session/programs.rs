//! The programs of a run: they are started, told, killed, paused, stopped.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::slot::Slot;
use super::{LEAVE, PATIENCE, READY, Session};
use crate::course::history::{Fields, History, What};
use crate::course::program::{Program, Start};
use crate::course::sink::{self, Asked, Rule};
use crate::course::trouble::Trouble;
use crate::process;

/// A setting of an exercise, for the `init` line.
pub(crate) type Setting<'a> = (&'a str, Value);

impl Session {
    /// Starts a program, tells it its role, and waits until it is ready. Returns its number.
    pub(crate) async fn join(&mut self, role: &str, index: usize, settings: &[Setting<'_>]) -> Result<usize> {
        let number = self.start(role, index, settings).await?;
        self.ready(number).await?;
        Ok(number)
    }

    /// Starts a program and tells it its role, without waiting.
    pub(crate) async fn start(
        &mut self,
        role: &str,
        index: usize,
        settings: &[Setting<'_>],
    ) -> Result<usize> {
        let number = self.programs.len();
        let state = self.folder.path().join(format!("state-{index}"));
        std::fs::create_dir_all(&state).context("cannot make a folder for the program")?;
        let now = self.rule.clone();
        let rule: Rule = Rc::new(move |asked: &Asked<'_>| {
            let rule = now.borrow().clone();
            rule(asked)
        });
        let sink = sink::start(number, rule, self.effects.clone(), self.events.clone()).await?;
        let mut init = Fields::from_iter([
            ("role".to_owned(), json!(role)),
            ("index".to_owned(), json!(index)),
            ("endpoint".to_owned(), json!(self.endpoint)),
            ("name".to_owned(), json!(self.name)),
            ("sink".to_owned(), json!(sink)),
            ("state".to_owned(), json!(state.display().to_string())),
        ]);
        init.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.programs.push(Slot { program: None, init, state, killed: false, stopped: false, ended: false });
        self.again(number).await?;
        Ok(number)
    }

    /// Starts a program again that has ended, with the same index and the same folder.
    pub(crate) async fn again(&mut self, number: usize) -> Result<()> {
        let slot = &mut self.programs[number];
        let start = Start { words: &self.words, folder: &slot.state, limits: &self.limits };
        let mut program = Program::start(&start, number, &self.events)?;
        program.tell("init", &slot.init).await;
        (slot.program, slot.killed, slot.stopped, slot.ended) = (Some(program), false, false, false);
        let fields = slot.init.clone();
        self.note(What::Told { program: number, kind: "init", fields });
        Ok(())
    }

    /// Waits until a program has said `ready` since it was last told `init`.
    pub(crate) async fn ready(&mut self, number: usize) -> Result<()> {
        let ready = move |history: &History| {
            let mut since = history.0.iter().rev().take_while(
                |event| !matches!(event.what, What::Told { program, kind: "init", .. } if program == number),
            );
            since.any(|event| matches!(&event.what, What::Said { program, kind, .. } if *program == number && kind == "ready"))
        };
        let ended = move |history: &History| {
            let mut since = history.0.iter().rev().take_while(
                |event| !matches!(event.what, What::Told { program, kind: "init", .. } if program == number),
            );
            since.any(|event| matches!(event.what, What::Left { program, .. } if program == number))
        };
        if self.until(READY, |history| ready(history) || ended(history)).await? && ready(&self.history) {
            return Ok(());
        }
        Err(match self.trouble.take() {
            Some(trouble) => trouble.into(),
            None => self.silent(number).await.into(),
        })
    }

    /// Why a program has said nothing.
    async fn silent(&mut self, number: usize) -> Trouble {
        let heard = self.history.0.len();
        let pid = self.programs.get(number).and_then(|slot| Some(slot.program.as_ref()?.pid));
        let busy = pid.map_or(Duration::ZERO, |pid| process::used(&[pid]));
        self.tell(number, "stop", Fields::new()).await;
        if let Some(slot) = self.programs.get_mut(number) {
            slot.stopped = true;
        }
        // Its end shows whether its lines only lay in a buffer.
        let left = move |history: &History| history.left(number).is_some();
        let _ = self.until(Duration::from_secs(2), left).await;
        let late = self.history.0[heard.min(self.history.0.len())..]
            .iter()
            .any(|event| matches!(&event.what, What::Said { kind, .. } if kind == "ready"));
        let seconds = READY.as_secs();
        if late {
            return Trouble::new(
                "the program's lines came only when it ended: it does not flush stdout",
                "flush after every line (Python: print(…, flush=True); Rust: stdout().flush(); C: fflush)",
            );
        }
        let log = self.log(number);
        if busy > READY / 4 {
            return Trouble::new(
                format!(
                    "the program did not say `ready` within {seconds} s, and used a processor for {:.1} s of it{log}",
                    busy.as_secs_f64()
                ),
                "look for a loop that never ends before `ready`; and flush stdout after every line",
            );
        }
        if self.link.traffic().accepted == 0 {
            return Trouble::new(
                format!(
                    "the program did not say `ready` within {seconds} s, and never connected to the endpoint {} that \
                     `init` names{log}",
                    self.endpoint
                ),
                "take the address from `init`; and flush stdout after every line, the usual cause of silence",
            );
        }
        Trouble::new(
            format!("the program did not say `ready` within {seconds} s{log}"),
            "the usual cause: it does not flush stdout after every line; otherwise it hangs before it says `ready`",
        )
    }

    /// The end of a program's log, as a part of a sentence.
    pub(super) fn log(&self, number: usize) -> String {
        let log = self.programs.get(number).and_then(|slot| slot.program.as_ref()).map(Program::log);
        match log {
            Some(log) if !log.is_empty() => format!(" (the end of its log: {log})"),
            _ => String::new(),
        }
    }

    /// Tells a program what to do; returns the id of the operation.
    pub(crate) async fn op(&mut self, number: usize, what: &str, fields: &[Setting<'_>]) -> u64 {
        self.ops += 1;
        let mut op = Fields::from_iter([("id".to_owned(), json!(self.ops)), ("do".to_owned(), json!(what))]);
        op.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.tell(number, "op", op).await;
        self.ops
    }

    async fn tell(&mut self, number: usize, kind: &'static str, fields: Fields) {
        self.note(What::Told { program: number, kind, fields: fields.clone() });
        if let Some(program) = self.programs.get_mut(number).and_then(|slot| slot.program.as_mut()) {
            program.tell(kind, &fields).await;
        }
    }

    /// Kills a program, and waits until it has ended. Nobody starts it again but [`Self::again`].
    pub(crate) async fn kill(&mut self, number: usize) -> Result<()> {
        let slot = &mut self.programs[number];
        slot.killed = true;
        if slot.ended {
            slot.program = None;
        }
        let Some(program) = slot.program.as_ref() else { return Ok(()) };
        let (pid, heard) = (program.pid, self.history.0.len());
        // At once, then the rest of its tree.
        process::signal(pid, Signal::KILL);
        self.did(&format!("kills program {number} (kill -9)"));
        let ended = move |history: &History| {
            history.0[heard..]
                .iter()
                .any(|event| matches!(event.what, What::Left { program, .. } if program == number))
        };
        self.until(PATIENCE, ended).await?;
        self.programs[number].program = None;
        Ok(())
    }

    /// As [`Self::pause`], and not part of the story: only so that it finds everything at once.
    pub(crate) fn hold(&self, number: usize, hold: bool) {
        let Some(program) = self.programs[number].program.as_ref() else { return };
        for pid in process::tree(&[program.pid]) {
            process::signal(pid, if hold { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Stops a program's process (SIGSTOP), or lets it go on.
    pub(crate) fn pause(&mut self, number: usize, pause: bool) {
        self.hold(number, pause);
        self.did(&format!("{} program {number}", if pause { "pauses" } else { "resumes" }));
    }

    /// Tells a program to stop, and waits until it has left. What it does wrong then is written down:
    /// its messages can still be judged.
    pub(crate) async fn stop(&mut self, number: usize) -> Result<()> {
        let slot = &mut self.programs[number];
        if slot.program.is_none() || slot.ended {
            return Ok(());
        }
        slot.stopped = true;
        let heard = self.history.0.len();
        self.tell(number, "stop", Fields::new()).await;
        let ended = move |history: &History| {
            history.0[heard..]
                .iter()
                .any(|event| matches!(event.what, What::Left { program, .. } if program == number))
        };
        if !self.until(LEAVE, ended).await? {
            let cause = format!(
                "the program did not end within {} s after `stop`{}",
                LEAVE.as_secs(),
                self.log(number)
            );
            let next = "after `stop`, finish what is in hand, say `bye` and end the process; look for a thread or a \
                        read that waits for ever";
            self.wrong(Trouble::new(cause, next));
            return self.kill(number).await;
        }
        let bye = self.history.0[heard..].iter().any(
            |event| matches!(&event.what, What::Said { program, kind, .. } if *program == number && kind == "bye"),
        );
        let log = self.log(number);
        self.programs[number].program = None;
        if !bye {
            let cause = format!("the program ended without `bye`{log}");
            self.wrong(Trouble::new(cause, "say `bye` as the last line, and flush it"));
        }
        Ok(())
    }

    /// Stops all programs that run.
    pub(crate) async fn stop_all(&mut self) -> Result<()> {
        for number in 0..self.programs.len() {
            self.stop(number).await?;
        }
        Ok(())
    }

    /// From now on a program may end by itself without being told to.
    pub(crate) fn may_leave(&mut self, number: usize) {
        self.programs[number].stopped = true;
    }

    /// What the sink answers from now on.
    pub(crate) fn on_effect(&self, rule: Rule) {
        *self.rule.borrow_mut() = rule;
    }
}
