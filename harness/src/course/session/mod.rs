//! One run of an exercise: programs, the transport with a proxy in front, the sink, the record.
//!
//! An exercise plays the other parties through this: it starts programs, tells them what to do,
//! sends and takes messages over the real transport, waits for conditions on the record, does
//! something to a program or to the link, and says what each check found.

mod programs;
mod slot;
mod waiting;
mod waits;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use labs::lab::Broker;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use waits::Waits;

use crate::broker::{self, Choice, Choices, Needs, Options, Server};
use crate::command::nonce;
use crate::course::history::{Event, Fields, History, What};
use crate::course::limits::Limits;
use crate::course::plan::{Finding, Plan, Transport};
use crate::course::program::{Events, Heard};
use crate::course::redis::{self, Redis};
use crate::course::sink::{Answer, Asked, Rule};
use crate::course::tcp::Tcp;
use crate::course::trouble::Trouble;
use crate::fault::proxy::{Address, Proxy};
use crate::process::guard;

/// How long a program may take to say `ready`. Interpreters start slowly on a busy machine.
pub(crate) const READY: Duration = Duration::from_secs(10);
/// How long a step of the load may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a program may take to leave after `stop`.
pub(crate) const LEAVE: Duration = Duration::from_secs(5);
/// The first Redis with all commands of the exercises (XAUTOCLAIM, LPOP with a count).
const SINCE: (u32, u32) = (6, 2);
/// Most events of a run.
const MOST: usize = 300_000;
/// How often the programs are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Every so many looks, their limits are looked at.
const LIMITS_EVERY: u32 = 3;

/// One run.
pub(crate) struct Session {
    pub(crate) plan: Plan,
    /// For the order and the moments of things; seeded by the plan.
    pub(crate) rng: SmallRng,
    /// What everything in the broker begins with.
    pub(crate) name: String,
    pub(crate) history: History,
    pub(crate) findings: Vec<Finding>,
    /// The first thing that a program did wrong, where the run could go on.
    pub(crate) trouble: Option<Trouble>,
    /// A program does not keep to the protocol: nothing is worth waiting for.
    broken: bool,
    /// Why nothing can be said about a check, where nothing can.
    pub(crate) unknown: Option<String>,
    /// The checker's listener, in exercises without a broker.
    pub(crate) tcp: Tcp,
    pub(crate) limits: Limits,
    words: Vec<String>,
    folder: tempfile::TempDir,
    endpoint: String,
    server: Option<Server>,
    link: Proxy,
    own: Rc<RefCell<BTreeSet<String>>>,
    events: Events,
    arriving: UnboundedReceiver<Heard>,
    programs: Vec<slot::Slot>,
    rule: Rc<RefCell<Rule>>,
    effects: Rc<Cell<usize>>,
    ops: u64,
    bodies: usize,
    began: Instant,
    looked: Instant,
    looks: u32,
    waits: Waits,
}

impl Session {
    /// Prepares a run: starts the broker, the proxy and the spy, but no program yet. `words` start
    /// one.
    pub(crate) async fn new(transport: Transport, plan: Plan, words: &[String]) -> Result<Self> {
        let (events, arriving) = tokio::sync::mpsc::unbounded_channel();
        let name = format!("ex-{}", nonce());
        let folder = tempfile::Builder::new()
            .prefix("exercise-")
            .tempdir_in(guard::session_dir())
            .context("cannot make a folder for the program")?;
        let own = Rc::new(RefCell::new(BTreeSet::new()));
        let tcp = Tcp::default();
        let (server, upstream): (Option<Server>, SocketAddr) = match transport {
            Transport::Tcp => (None, tcp.listen(events.clone()).await?),
            Transport::Redis => {
                let server = start_redis().await?;
                let upstream = host_and_port(&server);
                redis::spy(&upstream, own.clone(), events.clone()).await?;
                (Some(server), upstream.parse().context("the private Redis has no address")?)
            }
        };
        let link = Proxy::tcp(upstream)?;
        let Address::Tcp(endpoint) = link.address() else { bail!("a proxy without a port") };
        let accept: Rule = Rc::new(|_: &Asked<'_>| Answer::Accept(Fields::new()));
        Ok(Self {
            rng: SmallRng::seed_from_u64(plan.seed),
            limits: Limits::new(name.clone()),
            endpoint: endpoint.to_string(),
            history: History::default(),
            findings: Vec::new(),
            unknown: None,
            trouble: None,
            broken: false,
            words: words.to_vec(),
            programs: Vec::new(),
            rule: Rc::new(RefCell::new(accept)),
            effects: Rc::new(Cell::new(0)),
            ops: 0,
            bodies: 0,
            began: Instant::now(),
            looked: Instant::now(),
            looks: 0,
            waits: Waits::default(),
            plan,
            name,
            tcp,
            folder,
            server,
            link,
            own,
            events,
            arriving,
        })
    }

    // What an exercise may ask.

    /// Whether this fault is part of the run.
    pub(crate) fn fault(&self, name: &str) -> bool {
        self.plan.faults.contains(name)
    }

    /// Time since the run began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The link between the programs and the broker, or the checker's listener.
    pub(crate) const fn link(&self) -> &Proxy {
        &self.link
    }

    /// A body that nobody can guess: a short number for readers, then random digits.
    pub(crate) fn body(&mut self) -> String {
        self.bodies += 1;
        format!("m{}-{}", self.bodies, nonce())
    }

    /// A number below `end`, as the seed has it.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end.max(1))
    }

    /// A name in the broker, below the run's own.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.name)
    }

    /// A connection of the checker to Redis, past the proxy.
    pub(crate) async fn redis(&self) -> Result<Redis> {
        let server = self.server.as_ref().context("this exercise has no broker")?;
        Redis::connect(&host_and_port(server), &self.own).await
    }

    // The record.

    /// Writes down that a phase began.
    pub(crate) fn begin(&mut self, phase: &'static str) {
        self.note(What::Phase(phase));
    }

    /// Writes down what the checker does.
    pub(crate) fn did(&mut self, what: &str) {
        self.note(What::Did(what.to_owned()));
    }

    pub(crate) fn note(&mut self, what: What) {
        self.history.0.push(Event { at: self.began.elapsed(), what });
    }

    fn heard(&mut self, heard: Heard) -> Result<()> {
        if self.history.0.len() > MOST {
            return Err(Trouble::new(
                format!("the program has done more than {MOST} things in one run"),
                "look for a loop that asks the broker or the sink again and again without a pause",
            )
            .into());
        }
        match heard {
            Heard::Trouble(trouble) => {
                self.wrong(trouble);
                self.broken = true;
            }
            Heard::What(What::Left { program, how }) => {
                self.note(What::Left { program, how: how.clone() });
                let slot = &self.programs[program];
                if !slot.killed && !slot.stopped {
                    // What it did wrong may be a limit.
                    self.check_limits()?;
                    let ready = self.history.said("ready").any(|(_, said, _)| said == program);
                    let when = if ready { "before it was told to stop" } else { "before it said `ready`" };
                    let cause = format!("the program ended {when}, with {how}{}", self.log(program));
                    let next = "a program runs until it reads `stop`; look at its log, or start it by hand";
                    self.wrong(Trouble::new(cause, next));
                }
                self.programs[program].ended = true;
            }
            Heard::What(what) => self.note(what),
        }
        Ok(())
    }

    /// Writes down what a program did wrong; the first counts.
    fn wrong(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
    }

    /// The programs that run.
    fn pids(&self) -> Vec<u32> {
        self.programs.iter().filter_map(|slot| Some(slot.program.as_ref()?.pid)).collect()
    }

    fn look(&mut self) -> Result<()> {
        self.looked = Instant::now();
        let pids = self.pids();
        let server = self.server.as_ref().and_then(Server::pids).unwrap_or_default();
        let all = pids.iter().copied().chain(server).chain([std::process::id()]);
        self.waits.look(self.began.elapsed(), all);
        self.looks += 1;
        if self.looks.is_multiple_of(LIMITS_EVERY) { self.check_limits() } else { Ok(()) }
    }

    /// Goes through all processes of the machine.
    fn check_limits(&self) -> Result<()> {
        let pids = self.pids();
        match self.limits.broken(&pids, self.folder.path()) {
            Some(trouble) => Err(trouble.into()),
            None => Ok(()),
        }
    }

    // Judging.

    /// Says what a check found. A check that is judged twice holds when both do.
    pub(crate) fn check(
        &mut self,
        check: &'static str,
        holds: bool,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) {
        let finding = Finding { check, holds, expected: expected.into(), got: got.into() };
        match self.findings.iter_mut().find(|known| known.check == check) {
            Some(known) if known.holds => *known = finding,
            Some(_) => {}
            None => self.findings.push(finding),
        }
    }

    /// Nothing can be said, for this reason.
    pub(crate) fn cannot_tell(&mut self, why: &str) {
        self.unknown.get_or_insert_with(|| why.to_owned());
    }

    /// Ends all programs with all their children, and the broker.
    pub(crate) async fn end(mut self) -> Result<Ended> {
        let (accepted, endpoint) = (self.link.traffic().accepted, self.endpoint.clone());
        self.limits.end_all(&self.pids());
        // What a program has written may be large.
        let _ = std::fs::remove_dir_all(self.folder.path());
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        let Self { history, findings, unknown, trouble, .. } = self;
        // Ready, and never at the place that it was told: then no other check means anything.
        let ready = history.said("ready").next().is_some();
        let elsewhere = (accepted == 0 && ready).then(|| {
            Trouble::new(
                format!("the program never connected to the endpoint {endpoint} that `init` names"),
                "take host and port from `init`, and connect before you say `ready`",
            )
        });
        Ok(Ended { history, findings, unknown, trouble, elsewhere })
    }
}

fn host_and_port(server: &Server) -> String {
    server.address().to_string().trim_start_matches("redis://").trim_end_matches('/').to_owned()
}

/// A private Redis: the one on PATH, or out of its wheel where that one is too old.
async fn start_redis() -> Result<Server> {
    let dir = guard::session_dir();
    let options = Options { durable: false, dir: &dir, settings: &[] };
    let mut old = None;
    for choices in [Choices::new(), Choices::from([(Broker::Redis, Choice::Wheel)])] {
        let source = match (broker::find(Broker::Redis, &choices), &old) {
            (Ok(source), _) => source,
            (Err(missing), None) => return Err(missing.into()),
            (Err(missing), Some(why)) => bail!("the exercises cannot run: {why}, and {missing}"),
        };
        let server = Server::start(Broker::Redis, &source, &options).await?;
        match server.why_not(Needs::of(Some(SINCE), &[])) {
            None => return Ok(server),
            Some(why) => old = Some(why),
        }
        server.stop().await?;
    }
    bail!("the exercises cannot run: {}", old.unwrap_or_default())
}

/// What is left of a run.
pub(crate) struct Ended {
    pub(crate) history: History,
    pub(crate) findings: Vec<Finding>,
    pub(crate) unknown: Option<String>,
    /// The first thing that a program did wrong.
    pub(crate) trouble: Option<Trouble>,
    /// What a program did wrong that went through the whole run and never connected.
    pub(crate) elsewhere: Option<Trouble>,
}
