//! One run under faults: starts the roles, does what the plan says at its moments, waits until
//! nothing more comes, and hands what was seen to [`crate::fault::account`].

mod acts;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use labs::catalog::Pattern;
use labs::lab::Guarantee;

use crate::broker::Server;
use crate::fault::account::Observed;
use crate::fault::applies::covers_all;
use crate::fault::links::Links;
use crate::fault::messages;
use crate::fault::name::{Fault, What, Who};
use crate::fault::plan::Injection;
use crate::fault::steps::steps;
use crate::measure::account;
use crate::measure::clock::{self, SECOND};
use crate::results::{EventKind, FaultEvent, Injected, MessageFate};
use crate::roles::LEAVE;
use crate::roles::protocol::{Event, FromRole, Init, Kind, ToRole, What as Said, kinds};
use crate::supervisor::{Heard, Roles};
use crate::trial::{self, Spec};

/// Who injects faults, in the events.
const ENGINE: &str = "engine";
/// How long roles may take to join.
const JOIN: Duration = Duration::from_secs(30);
/// From the word to the common start, ns.
const COUNTDOWN: u64 = 20_000_000;
/// Between two looks at the account while nothing else happens.
const LOOK: Duration = Duration::from_millis(20);
/// Between two comparisons of what was sent with what was received, ns.
const COMPARE: u64 = SECOND / 10;
/// At-most-once loses messages: when nothing has come for so long, nothing comes any more, ns.
const QUIET: u64 = SECOND * 3 / 2;
/// Longest that a role tries to reach its peers or its broker again, and some more, ns.
const RECOVERY: u64 = 35 * SECOND;

/// What a run is to be.
pub(super) struct FaultSpec {
    /// The lab and its load: at a rate, and every message recorded.
    pub(super) trial: Spec,
    /// What it is held to: the lab's guarantee, or less over a broker whose settings allow no more.
    pub(super) guarantee: Guarantee,
    /// What is done to it, in the order of time.
    pub(super) injections: Vec<Injection>,
}

/// Runs it. What goes wrong with the lab is in what was observed.
///
/// # Errors
/// When there is nothing to judge: roles never joined, a broker cannot be started again, a file
/// cannot be read.
pub(super) async fn run(
    spec: &FaultSpec,
    mut server: Option<&mut Server>,
    tell: &mut dyn FnMut(&str),
) -> Result<Observed> {
    let lab = &spec.trial;
    let accounts = account::new_dir()?;
    let run = trial::run_number();
    let name = format!("lab-{run:08x}");
    let own = server.as_ref().map(|server| server.address().clone());
    let links = Links::default();
    let linked = spec.injections.iter().any(|injection| injection.fault.who == Who::Link);
    let address = match &own {
        Some(address) if linked => Some(links.broker(address)?),
        address => address.clone(),
    };
    let inits = trial::inits(lab, run, &name, address.as_ref(), accounts.path());
    let subscribers: Vec<String> =
        inits.iter().filter(|init| init.kind == Kind::Subscriber).map(Init::role).collect();
    let noted = own.as_ref().filter(|_| server.as_ref().is_some_and(|server| !server.is_private()));
    trial::note(&lab.handle, &name, noted, subscribers.clone());
    let (mut roles, missing) = Roles::start_some(&lab.handle, inits.clone(), lab.placement.clone());
    if let Some(error) = missing {
        let _ = roles.shut_down(Duration::from_nanos(LEAVE)).await;
        return Err(error);
    }
    // Nobody has been heard yet, so nobody knows an address.
    if linked && own.is_none() {
        let links = links.clone();
        roles.reach_through(move |bound| links.through(bound));
    }
    let mut faulted = Run {
        spec,
        roles,
        current: (0..inits.len()).collect(),
        inits,
        links,
        start: 0,
        hit: BTreeSet::new(),
        killed_senders: Vec::new(),
        gone: BTreeSet::new(),
        away: BTreeSet::new(),
        injected: Vec::new(),
        events: Vec::new(),
        failures: Vec::new(),
        drained: false,
    };
    let played = faulted.play(&mut server, accounts.path(), tell).await;
    faulted.links.all(|proxy| proxy.heal());
    let complaints = faulted.roles.shut_down(Duration::from_nanos(LEAVE + 2 * SECOND)).await;
    played?;
    let Run { inits, injected, events, mut failures, mut drained, killed_senders, gone, .. } = faulted;
    for complaint in complaints {
        let (role, error) = complaint.split_once(": ").unwrap_or(("", &complaint));
        failures.push((role.to_owned(), error.to_owned()));
    }
    let alive = match server.as_mut() {
        Some(server) => server.died().is_none() && server.trouble().await.is_none(),
        None => true,
    };
    if !drained && alive && trial::has_store(lab) {
        // Messages may still be in the store: only what is not there either is lost.
        tell("looking into the store");
        drained = trial::look_again(lab, &inits, accounts.path()).await.is_ok();
    }
    if alive {
        trial::remove(&lab.handle, &name, own.as_ref(), subscribers).await?;
    }
    trial::done(&name);
    let entry = &lab.handle.entry;
    let faults: Vec<Fault> = spec.injections.iter().map(|injection| injection.fault).collect();
    Ok(Observed {
        guarantee: spec.guarantee,
        pattern: entry.pattern,
        confirms: confirms(lab),
        covered: covers_all(spec.guarantee, &faults, entry),
        receivers: u32::try_from(trial::receivers(lab).1)?,
        gone: gone.into_iter().collect(),
        injections: injected,
        messages: gather(lab, accounts.path(), &killed_senders)?,
        events,
        failures,
        drained,
    })
}

/// Whether senders learn that their messages are confirmed, and note it.
fn confirms(lab: &Spec) -> bool {
    let entry = &lab.handle.entry;
    match entry.pattern {
        Pattern::Queue | Pattern::Durable => true,
        Pattern::Pipeline => entry.guarantee > Guarantee::AtMostOnce,
        _ => false,
    }
}

/// The messages of a run, from its files.
fn gather(lab: &Spec, accounts: &Path, killed: &[(u32, u64)]) -> Result<Vec<MessageFate>> {
    let sender = kinds(lab.handle.entry.pattern)[0];
    let (receiver, count) = trial::receivers(lab);
    let names = |kind: Kind, count: usize| -> Vec<String> {
        (0..count).map(|index| format!("{kind}-{index}")).collect()
    };
    let (senders, receivers) = (names(sender, lab.senders), names(receiver, count));
    messages::gather(&messages::Roles { accounts, senders: &senders, receivers: &receivers }, killed)
}

/// A run in progress.
struct Run<'a> {
    spec: &'a FaultSpec,
    roles: Roles,
    /// The first lines of all roles.
    inits: Vec<Init>,
    /// For each of them, its number among the supervised: one that is started again has a new one.
    current: Vec<usize>,
    links: Links,
    /// The common start, ns of the clock.
    start: u64,
    /// Numbers of roles that were killed on purpose.
    hit: BTreeSet<usize>,
    /// Senders that were killed, and when.
    killed_senders: Vec<(u32, u64)>,
    /// Receivers that were killed and not started again.
    gone: BTreeSet<u32>,
    /// Numbers of roles that have lost a connection, and have not said that they are back.
    away: BTreeSet<usize>,
    injected: Vec<Injected>,
    events: Vec<FaultEvent>,
    failures: Vec<(String, String)>,
    /// Nothing more can come.
    drained: bool,
}

impl Run<'_> {
    async fn play(
        &mut self,
        server: &mut Option<&mut Server>,
        accounts: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        self.roles.gather(JOIN).await?;
        self.start = clock::now() + COUNTDOWN;
        self.roles.tell_all(&ToRole::Go { start: self.start });
        let mut steps = steps(&self.spec.injections).into_iter().peekable();
        let end = clock::seconds(self.spec.trial.seconds);
        let mut progress = Progress::default();
        loop {
            let now = self.now();
            while let Some(step) = steps.next_if(|step| step.at <= self.now()) {
                self.take(step, server, tell).await?;
            }
            let wake = steps
                .peek()
                .map_or(LOOK, |step| Duration::from_nanos(step.at.saturating_sub(self.now())).min(LOOK));
            tokio::select! {
                biased;
                (number, heard) = self.roles.hear() => self.heard(number, heard, tell),
                () = tokio::time::sleep(wake) => {}
            }
            if now < end || steps.peek().is_some() || now < progress.next {
                continue;
            }
            progress.next = now + COMPARE;
            let messages = gather(&self.spec.trial, accounts, &self.killed_senders)?;
            let received = messages.iter().map(|message| message.receipts.len()).sum();
            if received != progress.received {
                (progress.received, progress.last) = (received, now);
            }
            let quiet = now - progress.last.max(end);
            // Everything may have come while clients are still on their way back.
            let back = self.away.is_empty() || !self.all_heals();
            if self.all_sent()
                && self.missing(&messages) == 0
                && (back || quiet > clock::seconds(self.spec.trial.drain))
            {
                self.drained = true;
                return Ok(());
            }
            // A request whose responder was killed is open for ever, and so is a send to nobody.
            let waits = !self.all_sent()
                && self.spec.trial.handle.entry.pattern != Pattern::RequestReply
                && !self.nobody_left();
            let at_most_once = self.spec.trial.handle.entry.guarantee == Guarantee::AtMostOnce;
            if at_most_once && !waits && quiet > QUIET {
                self.drained = true;
                return Ok(());
            }
            let stuck = if self.all_sent() { clock::seconds(self.spec.trial.drain) } else { RECOVERY };
            if quiet > stuck {
                return Ok(());
            }
        }
    }

    /// Since the common start, ns.
    fn now(&self) -> u64 {
        clock::now().saturating_sub(self.start)
    }

    fn note(&mut self, who: &str, what: EventKind, detail: &str) {
        let (at, who, detail) = (self.now(), who.to_owned(), detail.to_owned());
        self.events.push(FaultEvent { at, who, what, detail });
    }

    fn heard(&mut self, number: usize, heard: Heard, tell: &mut dyn FnMut(&str)) {
        let name = self.roles.all[number].name.clone();
        match heard {
            // One that is started again: the others are in the middle of the run.
            Heard::Line(FromRole::Ready) => self.roles.tell(number, ToRole::Go { start: self.start }),
            Heard::Line(FromRole::Failed { error }) => {
                tell(&format!("{name} failed: {error}"));
                self.note(&name, EventKind::Failed, &error);
                self.failures.push((name, error));
            }
            Heard::Line(FromRole::Event(Event { what, text, at, .. })) => {
                let at = at.map_or_else(|| self.now(), |at| at.saturating_sub(self.start));
                let (what, words) = match what {
                    Said::ConnectionLost => {
                        self.away.insert(number);
                        (EventKind::Noticed, "notices")
                    }
                    Said::Reconnected => {
                        self.away.remove(&number);
                        (EventKind::Reconnected, "is back")
                    }
                    _ => (EventKind::Other, "says"),
                };
                tell(&format!("{name} {words}: {text}"));
                self.events.push(FaultEvent { at, who: name, what, detail: text.to_string() });
            }
            Heard::Left(why) => {
                self.away.remove(&number);
                if let Some(why) = why.filter(|_| !self.hit.contains(&number)) {
                    self.note(&name, EventKind::Failed, &why);
                    self.failures.push((name, why));
                }
            }
            _ => {}
        }
    }

    /// Every sender that still lives has sent all of its load.
    fn all_sent(&self) -> bool {
        let first = kinds(self.spec.trial.handle.entry.pattern)[0];
        let senders = self.inits.iter().zip(&self.current).filter(|(init, _)| init.kind == first);
        senders.map(|(_, number)| &self.roles.all[*number]).all(|role| role.done || role.left)
    }

    /// Whether all that was lost comes back: no fault takes a role or the broker away for good.
    fn all_heals(&self) -> bool {
        let heals = |fault: Fault| match fault.who {
            Who::Link => true,
            Who::Broker => fault.what != What::Kill,
            _ => false,
        };
        self.spec.injections.iter().all(|injection| heals(injection.fault))
    }

    /// The only one of its kind was killed, and is not started again.
    fn nobody_left(&self) -> bool {
        let kinds: BTreeSet<Kind> = self.inits.iter().map(|init| init.kind).collect();
        let lives = |kind: &Kind| {
            let of_kind = self.inits.iter().zip(&self.current).filter(|(init, _)| init.kind == *kind);
            of_kind.into_iter().any(|(_, number)| !self.hit.contains(number))
        };
        kinds.iter().any(|kind| !lives(kind))
    }

    /// Deliveries that are still to come.
    fn missing(&self, messages: &[MessageFate]) -> usize {
        let (_, receivers) = trial::receivers(&self.spec.trial);
        let copies = self.spec.trial.handle.entry.pattern.is_fan_out();
        let owed = messages.iter().filter(|message| !message.refused && !message.indeterminate);
        owed.map(|message| {
            let mut who: BTreeSet<u32> = message.receipts.iter().map(|receipt| receipt.receiver).collect();
            who.retain(|receiver| !copies || !self.gone.contains(receiver));
            let all = if copies { receivers - self.gone.len() } else { 1 };
            all.saturating_sub(who.len())
        })
        .sum()
    }
}

/// How far the drain has come.
#[derive(Default)]
struct Progress {
    received: usize,
    /// When something came last.
    last: u64,
    /// When to look again.
    next: u64,
}
