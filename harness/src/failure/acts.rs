//! What is done to the roles of a part, to their connections and to their broker, and who else can be
//! asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use labs::lab::{Directory, Place};
use labs::queue::{DeadLetter, DeadLetters as _};
use rustix::process::Signal;

use super::run::{LAB, MANY, PATIENCE, Run};
use super::stranger;
use crate::measure::clock;
use crate::process;
use crate::replay::ReplayWhat;
use crate::roles::block_on;
use crate::roles::protocol::ToRole;

impl Run<'_> {
    /// kill -9; everything that the role had said before is heard.
    pub(crate) async fn kill(&mut self, number: usize) -> Result<()> {
        let name = self.roles.all[number].name.clone();
        self.note(LAB, "kills", &format!("{name} (SIGKILL)"));
        self.recorder.gone(clock::now(), &name, ReplayWhat::Killed, "");
        self.killed.insert(number);
        self.roles.kill(number)?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.roles.all[number].left {
            tokio::time::timeout_at(deadline, self.hear()).await.context("a killed role does not end")?;
        }
        Ok(())
    }

    /// SIGSTOP, or SIGCONT.
    pub(crate) fn pause(&mut self, number: usize, pause: bool) -> Result<()> {
        let (name, pid) = (self.roles.all[number].name.clone(), self.roles.all[number].pid());
        let pid = pid.with_context(|| format!("{name} has no process of its own"))?;
        let (signal, what) = if pause { (Signal::STOP, "stops") } else { (Signal::CONT, "resumes") };
        self.note(LAB, what, &name);
        let kind = if pause { ReplayWhat::Paused } else { ReplayWhat::Resumed };
        self.recorder.add(clock::now(), &name, kind, "");
        process::tree(&[pid]).into_iter().for_each(|pid| process::signal(pid, signal));
        Ok(())
    }

    /// A role leaves by its own will.
    pub(crate) async fn leave(&mut self, number: usize) -> Result<()> {
        self.roles.tell(number, ToRole::Stop);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.roles.all[number].left {
            let heard = tokio::time::timeout_at(deadline, self.hear()).await;
            heard.with_context(|| format!("{} does not leave", self.roles.all[number].name))?;
        }
        Ok(())
    }

    /// Resets every connection that goes through the proxy.
    pub(crate) fn cut(&mut self) {
        self.note(LAB, "cuts", "every connection");
        self.recorder.add(clock::now(), LAB, ReplayWhat::Cut, "every connection was reset");
        self.links.all(crate::fault::proxy::Proxy::cut);
    }

    /// kill -9 of the broker.
    pub(crate) fn kill_broker(&mut self) -> Result<()> {
        let broker = self.server()?.broker();
        self.note(LAB, "kills", &format!("{broker} (SIGKILL)"));
        self.recorder.add(clock::now(), &broker.to_string(), ReplayWhat::Killed, "");
        self.server()?.kill()
    }

    /// Starts the broker again on its data. What roles report meanwhile is heard afterwards.
    pub(crate) async fn restart_broker(&mut self) -> Result<()> {
        let broker = self.server()?.broker();
        self.note(LAB, "starts again", &broker.to_string());
        self.server()?.restart().await?;
        self.recorder.add(clock::now(), &broker.to_string(), ReplayWhat::Started, "");
        Ok(())
    }

    /// Whether the broker is private, so that it may be killed.
    pub(crate) fn owns_broker(&self) -> bool {
        self.experiment.server.as_ref().is_some_and(crate::broker::Server::is_private)
    }

    fn server(&mut self) -> Result<&mut crate::broker::Server> {
        self.experiment.server.as_mut().context("there is no broker")
    }

    /// Another program sends something foreign to this place; how often.
    pub(crate) async fn strangers(&mut self, binder: usize) -> Result<usize> {
        let address = self.experiment.server.as_ref().map(|server| server.address().clone());
        let place = Place::new(&self.name, address.as_ref());
        let bound = self.roles.all[binder].bound.values().next().cloned();
        self.note(LAB, "sends", "a foreign message, as another program would");
        self.recorder.add(clock::now(), LAB, ReplayWhat::Note, "another program sends a foreign message");
        stranger::send(self.handle.entry.transport, &place, bound.as_deref()).await?;
        Ok(1)
    }

    /// The dead letters of the queue. Peer to peer, the producers have them.
    pub(crate) async fn dead_letters(&mut self) -> Result<Vec<DeadLetter>> {
        let queue = self.handle.queue.context("this lab is not a queue")?;
        let directory = Directory::supervised();
        let bound =
            self.roles.all.iter().filter(|role| !role.left).flat_map(|role| role.bound.values().cloned());
        directory.tell("", bound.collect());
        let address = self.experiment.server.as_ref().map(|server| server.address().clone());
        let place = Place::new(&self.name, address.as_ref())
            .with_role("dead")
            .with_knobs(self.knobs.clone())
            .with_directory(Arc::new(directory));
        // Labs are opened on a thread of their own, as for their removal.
        let reading = tokio::task::spawn_blocking(move || {
            block_on(async move { queue.dead_letters(&place).await?.list(MANY).await }.boxed_local())
        });
        tokio::time::timeout(PATIENCE, reading).await.context("the dead letters cannot be read in time")??
    }

    /// Asks the broker how many messages the queue holds. `None`: it cannot be asked.
    pub(crate) fn ask_depth(&self) -> Option<tokio::task::JoinHandle<Option<labs::queue::Depth>>> {
        let queue = self.handle.queue?;
        // Not through the proxy, whose link may be cut.
        let address = self.experiment.server.as_ref()?.address().clone();
        let place = Place::new(&self.name, Some(&address)).with_role("depth").with_knobs(self.knobs.clone());
        // Labs are opened on a thread of their own, as for their removal.
        Some(tokio::task::spawn_blocking(move || {
            let asked = block_on(
                async move {
                    tokio::time::timeout(Duration::from_secs(3), queue.depth(&place))
                        .await
                        .map_err(anyhow::Error::from)
                }
                .boxed_local(),
            );
            asked.ok().and_then(Result::ok).flatten()
        }))
    }

    /// The processes that hold messages: the broker's, or the one of this role.
    pub(crate) fn holders(&self, role: usize) -> Vec<u32> {
        let broker = self.experiment.server.as_ref().and_then(crate::broker::Server::pids);
        process::tree(&broker.unwrap_or_else(|| self.roles.all[role].pid().into_iter().collect()))
    }
}
