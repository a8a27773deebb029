//! All roles of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use labs::lab::Registry;
use tokio::sync::mpsc;

use super::heard::Heard;
use super::remote::{self, Launch, Side};
use super::start::{spawn, thread};
use crate::process;
use crate::roles::protocol::{FromRole, Init, Kind, Report, ToRole};
use crate::roles::{Handle, Peers};

/// Where roles run.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// As threads of this process, for in-process transports.
    pub threads: bool,
    /// CPUs to pin the roles' processes to, one each in turn; empty: no pinning.
    pub cpus: Vec<usize>,
    /// Roles that are started elsewhere, and how.
    pub launch: Launch,
}

/// One role, as it is supervised.
pub struct Role {
    /// Its name: `sender-0`.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The name of its place: roles at different places do not hear of each other.
    place: String,
    /// The addresses it bound, by namespace.
    pub bound: BTreeMap<String, String>,
    /// What the others are told in their place: see [`Roles::reach_through`].
    reached: BTreeMap<String, String>,
    /// It has said that it is ready.
    pub ready: bool,
    /// It has said that it is done.
    pub done: bool,
    /// It has left.
    pub left: bool,
    /// It has said what went wrong.
    pub failed: bool,
    /// It has left otherwise than by its own will, and how: killed, or crashed.
    pub crashed: Option<String>,
    /// Its report, once it came.
    pub report: Option<Report>,
    /// Where it ran, if not here; known at its end.
    pub side: Option<Side>,
    lines: mpsc::UnboundedSender<ToRole>,
    pid: Option<u32>,
}

impl Role {
    /// Its process, while it has one.
    pub fn pid(&self) -> Option<u32> {
        self.pid.filter(|_| !self.left)
    }
}

/// The roles of one run.
pub struct Roles {
    /// Everyone, in the order they were asked for.
    pub all: Vec<Role>,
    heard: mpsc::UnboundedReceiver<(usize, Heard)>,
    /// Kept so that `heard` never ends, and for roles that come later.
    mouth: mpsc::UnboundedSender<(usize, Heard)>,
    placement: Placement,
    registry: Arc<Registry>,
    /// Peers find each other through announcements.
    binds: bool,
    /// There is no broker between the peers.
    direct: bool,
    measured: bool,
    via: Option<Via>,
}

/// What stands in front of an address that a role has bound.
type Via = Box<dyn Fn(&str) -> Result<String> + Send>;

impl Roles {
    /// Starts all roles before any is awaited.
    pub fn start(handle: &Handle, inits: Vec<Init>, placement: Placement) -> Result<Self> {
        let (roles, missing) = Self::start_some(handle, inits, placement);
        missing.map_or(Ok(roles), Err)
    }

    /// The same; but where one cannot be started, those that were are returned, to be shut down.
    pub fn start_some(handle: &Handle, inits: Vec<Init>, placement: Placement) -> (Self, Option<Error>) {
        let (mouth, heard) = mpsc::unbounded_channel();
        let direct = handle.entry.broker.is_none();
        let binds = direct && !placement.threads;
        let measured = inits.iter().any(|init| init.measure.is_some());
        let registry = Arc::default();
        let mut roles =
            Self { all: Vec::new(), heard, mouth, placement, registry, binds, direct, measured, via: None };
        let missing = inits.into_iter().find_map(|init| roles.add(handle, init).err());
        (roles, missing)
    }

    /// One more role; its number is its place in [`Roles::all`].
    pub fn add(&mut self, handle: &Handle, init: Init) -> Result<usize> {
        let (number, name, kind, place) = (self.all.len(), init.role(), init.kind, init.name.clone());
        let (lines, inbox) = mpsc::unbounded_channel();
        let mouth = self.mouth.clone();
        let pid = if self.placement.threads {
            thread(handle, init, inbox, number, mouth, Arc::clone(&self.registry))?;
            None
        } else if self.placement.launch.has(init.kind) {
            Some(remote::spawn(init, inbox, number, mouth, &self.placement.launch)?)
        } else {
            let cpu = (!self.placement.cpus.is_empty())
                .then(|| self.placement.cpus[number % self.placement.cpus.len()]);
            Some(spawn(init, inbox, number, mouth, cpu)?)
        };
        self.all.push(Role {
            name,
            kind,
            place,
            bound: BTreeMap::new(),
            reached: BTreeMap::new(),
            ready: false,
            done: false,
            left: false,
            failed: false,
            crashed: None,
            report: None,
            side: None,
            lines,
            pid,
        });
        // A role that joins late gets the addresses, too.
        self.introduce();
        Ok(number)
    }

    /// Sends a line to one role. A role that has left ignores it.
    pub fn tell(&self, number: usize, line: ToRole) {
        let _ = self.all[number].lines.send(line);
    }

    /// Says something to everybody.
    pub fn tell_all(&self, line: &ToRole) {
        for role in &self.all {
            let _ = role.lines.send(line.clone());
        }
    }

    /// The next line from a role; the state of the role is already updated. Cancel-safe.
    pub async fn hear(&mut self) -> (usize, Heard) {
        // The channel cannot end: this end holds a sender.
        let Some((number, heard)) = self.heard.recv().await else { std::future::pending().await };
        let role = &mut self.all[number];
        match &heard {
            Heard::Line(FromRole::Bound { namespace, address }) => {
                let reached = self.via.as_ref().map_or_else(|| Ok(address.clone()), |via| via(address));
                let reached = reached.unwrap_or_else(|_| address.clone());
                role.reached.insert(namespace.clone(), reached);
                role.bound.insert(namespace.clone(), address.clone());
                self.introduce();
            }
            Heard::Line(FromRole::Ready) => role.ready = true,
            Heard::Line(FromRole::Done { .. }) => role.done = true,
            Heard::Line(FromRole::Report(report)) => role.report = Some((**report).clone()),
            Heard::Line(FromRole::Failed { .. }) => role.failed = true,
            Heard::Line(_) => {}
            Heard::Remote(side) => role.side = Some((**side).clone()),
            Heard::Left(why) => (role.left, role.crashed) = (true, why.clone()),
        }
        (number, heard)
    }

    /// When all binders of a place have announced their addresses, all roles there get them.
    fn introduce(&self) {
        if !self.binds {
            return;
        }
        let places: BTreeSet<&str> = self.all.iter().map(|role| role.place.as_str()).collect();
        for place in places {
            if let Some(peers) = self.peers_at(place) {
                for role in self.all.iter().filter(|role| role.place == place) {
                    let _ = role.lines.send(ToRole::Peers { peers: peers.clone() });
                }
            }
        }
    }

    /// The addresses of all binders at a place, once they are known.
    fn peers_at(&self, place: &str) -> Option<Peers> {
        let mut peers = Peers::new();
        for role in self.all.iter().filter(|role| role.place == place) {
            for namespace in role.kind.binds(self.measured) {
                match role.reached.get(*namespace) {
                    Some(address) => {
                        let there: &mut Vec<String> = peers.entry((*namespace).to_owned()).or_default();
                        // One that was started again is at the address it had before.
                        if !there.contains(address) {
                            there.push(address.clone());
                        }
                    }
                    // A binder that left will not announce itself any more.
                    None if role.left => {}
                    None => return None,
                }
            }
        }
        Some(peers)
    }

    /// The names of those who are not ready.
    pub fn not_ready(&self) -> Vec<&str> {
        self.all.iter().filter(|role| !role.ready && !role.left).map(|role| role.name.as_str()).collect()
    }

    /// Waits until everyone has joined. An error if one leaves before that, or
    /// the time is over.
    pub async fn gather(&mut self, patience: Duration) -> Result<()> {
        let all = async {
            while !self.not_ready().is_empty() {
                let (number, heard) = self.hear().await;
                let name = &self.all[number].name;
                match heard {
                    Heard::Line(FromRole::Failed { error }) => bail!("{name} could not join: {error}"),
                    Heard::Left(why) => {
                        bail!(
                            "{name} left before it had joined: {}",
                            why.unwrap_or_else(|| "without a message".into())
                        )
                    }
                    Heard::Line(_) | Heard::Remote(_) => {}
                }
            }
            Ok(())
        };
        match tokio::time::timeout(patience, all).await {
            Ok(joined) => joined,
            Err(_) => bail!("{} did not join within {} s", self.not_ready().join(", "), patience.as_secs()),
        }
    }

    /// The names of those who do this.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        self.all.iter().filter(|role| role.kind == kind).map(|role| role.name.clone()).collect()
    }

    /// Who left without a message, and how. Where one was killed, the others
    /// complain about the peer they lost, often before its end is seen: what
    /// happened to it is the cause, and the others' errors are the consequence.
    pub fn crashed_role(&self) -> Option<String> {
        let crashed_role = self.all.iter().find(|role| role.crashed.is_some() && !role.failed)?;
        Some(format!(
            "{} crashed: {}",
            crashed_role.name,
            crashed_role.crashed.as_deref().unwrap_or_default()
        ))
    }

    /// From now on the others reach a role that binds through what `via` makes of its address.
    pub fn reach_through(&mut self, via: impl Fn(&str) -> Result<String> + Send + 'static) {
        self.via = Some(Box::new(via));
    }

    /// Kills a role's process with SIGKILL.
    pub fn kill(&self, number: usize) -> Result<()> {
        let pid = self.all[number].pid().context("this role has no process of its own")?;
        process::signal(pid, rustix::process::Signal::KILL);
        Ok(())
    }

    /// Whether this lab's peers find each other through announcements.
    pub fn is_peer_to_peer(&self) -> bool {
        self.binds
    }

    /// Tells everyone to stop and waits until they have left; a role that takes too long is
    /// killed. Their last reports are noted; errors are returned.
    ///
    /// Peer to peer, in one process as well, those who connected leave before
    /// those who listen, as guests do: a listener that goes first would break
    /// their connections.
    pub async fn shut_down(&mut self, patience: Duration) -> Vec<String> {
        let mut complaints = Vec::new();
        let guest = |role: &Role| self.direct && role.kind.binds(self.measured).is_empty();
        let (guests, hosts): (Vec<usize>, Vec<usize>) =
            (0..self.all.len()).partition(|&number| guest(&self.all[number]));
        for leaving in [guests, hosts] {
            for &number in &leaving {
                self.tell(number, ToRole::Stop);
            }
            let all = async {
                while leaving.iter().any(|&number| !self.all[number].left) {
                    let (number, heard) = self.hear().await;
                    let name = &self.all[number].name;
                    match heard {
                        Heard::Line(FromRole::Failed { error }) => {
                            complaints.push(format!("{name}: {error}"))
                        }
                        Heard::Left(Some(why)) => complaints.push(format!("{name}: {why}")),
                        _ => {}
                    }
                }
            };
            if tokio::time::timeout(patience, all).await.is_ok() {
                continue;
            }
            for &number in leaving.iter().filter(|&&number| !self.all[number].left) {
                let name = &self.all[number].name;
                complaints
                    .push(format!("{name} did not stop within {} s and was killed", patience.as_secs()));
                // A thread cannot be killed; it ends with the process.
                let _ = self.kill(number);
            }
        }
        complaints
    }
}
