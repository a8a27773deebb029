//! Runs one trial: starts its roles, gives the common start, watches the accounts
//! until every message has arrived, and hands what was seen to [`super::evaluate`].

use std::future::{Future, pending};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::evaluate::{TrialInputs, evaluate};
use super::inits::inits;
use super::leftovers::{self, remove};
use super::pause::{self, Begin};
use super::pipeline_work::work;
use super::reconcile::{Ending, nothing_is_missing, reconcile};
use super::recording::recording;
use super::second_look;
use super::spec::{Outcome, Spec};
use super::watch::{Accounts, Watch};
use crate::broker::Server;
use crate::measure::account;
use crate::measure::clock::{self, SECOND};
use crate::measure::cost::{Usage, process_cpu};
use crate::measure::noise::Meter;
use crate::results::{LoadKind, Paused};
use crate::roles::LEAVE;
use crate::roles::protocol::{FromRole, Init, Kind, ToRole, kinds};
use crate::supervisor::{Heard, Roles};

/// How long roles may take to join. A cold client and a busy machine included.
const JOIN: Duration = Duration::from_secs(30);
/// From the word to the common start, ns: everyone has heard it by then.
const COUNTDOWN: u64 = 20_000_000;
/// Where roles are on other hosts: the word takes a while to get there.
const FAR_COUNTDOWN: u64 = 500_000_000;
/// How often accounts are looked at while messages drain.
const LOOK: Duration = Duration::from_millis(2);
/// How often the sets of messages are compared while counters say that all have arrived, ns.
const PROOF: u64 = SECOND / 20;
/// How often while they are measured: seldom, since looking costs CPU as well.
const PEEK: Duration = Duration::from_millis(25);

/// A number that no other run on this host has at this time.
pub fn run_number() -> u32 {
    let mixed = (clock::now() ^ (u64::from(std::process::id()) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

/// Runs a trial. `Err` only for what is no result: an interruption, or a bug.
/// Whatever goes wrong with the lab or its broker is a failed trial.
pub async fn run(
    spec: &Spec,
    mut broker: Option<&mut Server>,
    index: usize,
    position: usize,
    watch: impl FnMut(&Watch<'_>),
) -> Result<Outcome> {
    let accounts = account::new_dir()?;
    let run = run_number();
    let name = format!("lab-{run:08x}");
    let address = broker.as_ref().map(|server| server.address().clone());
    let inits = inits(spec, run, &name, address.as_ref(), accounts.path());
    // What is in a private broker goes with it.
    let own = address.as_ref().filter(|_| broker.as_ref().is_some_and(|server| !server.is_private()));
    let subscribers = inits.iter().filter(|init| init.kind == Kind::Subscriber).map(Init::role).collect();
    leftovers::note(&spec.handle, &name, own, subscribers);
    let meter = Meter::start();
    let (mut roles, missing) = Roles::start_some(&spec.handle, inits.clone(), spec.placement.clone());
    if let Some(error) = missing {
        // The next trial needs what these hold: files and memory.
        let _ = roles.shut_down(Duration::from_nanos(LEAVE)).await;
        return Err(error);
    }
    let mut trial_run = TrialRun {
        spec,
        roles: &mut roles,
        accounts: accounts.path(),
        measured: None,
        supervisor_cpu: None,
        paused: None,
        backlog: [0; 2],
        start: None,
    };
    let mut failed =
        trial_run.play(broker.as_deref_mut(), watch).await.err().map(|error| format!("{error:#}"));
    // What goes wrong from here on comes after the last message.
    let drained = failed.is_none();
    let (measured, backlog, paused, start) =
        (trial_run.measured, trial_run.backlog, trial_run.paused, trial_run.start);
    let supervisor_cpu = trial_run.supervisor_cpu.filter(|_| !spec.placement.threads);
    // Where one is gone, the others may wait for it in vain: they get no time to drain.
    let drain = if roles.crashed_role().is_some() { 0 } else { clock::seconds(spec.drain) };
    let complaints = roles.shut_down(Duration::from_nanos(LEAVE + drain)).await;
    if failed.is_none() && !complaints.is_empty() {
        failed = Some(complaints.join("; "));
    }
    if let Some(crashed_role) = roles.crashed_role() {
        failed = Some(crashed_role);
    }
    let noise = meter.stop();
    let crashed = roles.all.iter().any(|role| role.crashed.is_some());
    let mut ending = match (crashed, drained) {
        (true, _) => Ending::Crashed,
        (_, true) => Ending::Drained,
        _ => Ending::Failed,
    };
    if let (Ending::Failed, Some(why)) = (ending, &mut failed)
        && second_look::has_store(spec)
        // Elsewhere a new receiver would begin an account of its own, and what it does not know would seem lost.
        && !spec.placement.launch.is_remote()
    {
        // Messages may still be in the store: only what is not there either is lost.
        match second_look::look_again(spec, &inits, accounts.path()).await {
            Ok(found) => {
                ending = Ending::Drained;
                why.push_str(&format!("; new receivers found {found} of the missing messages in the store"));
            }
            Err(error) => why.push_str(&format!("; nobody could look into the store: {error:#}")),
        }
    }
    let gone = broker.as_mut().and_then(|server| server.died());
    if let Some(gone) = &gone {
        failed = Some(format!("the broker died: {gone}"));
    } else if let (Some(why), Some(server)) = (&mut failed, &broker)
        && let Some(trouble) = server.trouble().await
    {
        why.push_str(&format!("; {trouble}"));
    }
    if gone.is_none()
        && let Err(error) = remove(&spec.handle, &name, address.as_ref(), roles.names(Kind::Subscriber)).await
    {
        failed.get_or_insert(format!("something stays in the broker: {error:#}"));
    }
    leftovers::done(&name);
    let seen = TrialInputs {
        reports: roles.all.iter().filter_map(|role| Some((role.kind, role.report.as_ref()?))).collect(),
        account: reconcile(spec, accounts.path(), ending)?,
        work: work(spec, accounts.path())?,
        noise,
        broker: measured,
        supervisor_cpu,
        backlog,
        failed,
        paused,
        sides: roles.all.iter().filter_map(|role| Some((role, role.side.as_ref()?))).collect(),
        recording: spec.options.record.then(|| recording(spec, accounts.path())).transpose()?,
        start,
    };
    Ok(evaluate(spec, seen, index, position))
}

struct TrialRun<'a> {
    spec: &'a Spec,
    roles: &'a mut Roles,
    accounts: &'a Path,
    /// The broker's cost in the measured window.
    measured: Option<Usage>,
    /// CPU time of this process in the measured window, ns.
    supervisor_cpu: Option<u64>,
    /// When the broker stood still.
    paused: Option<Paused>,
    /// Sent and not yet received when the measured window opened and closed.
    backlog: [u64; 2],
    /// The common start, ns of the clock.
    start: Option<u64>,
}

impl TrialRun<'_> {
    async fn play(
        &mut self,
        mut broker: Option<&mut Server>,
        mut watch: impl FnMut(&Watch<'_>),
    ) -> Result<()> {
        watch(&Watch { at: -1.0, what: "joining", ..Watch::default() });
        let patience = JOIN;
        until_dead(&mut broker, self.roles.gather(patience)).await?;
        let far = self.spec.placement.launch.is_remote();
        let start = clock::now() + if far { FAR_COUNTDOWN } else { COUNTDOWN };
        self.start = Some(start);
        self.roles.tell_all(&ToRole::Go { start });
        let mut from = start + clock::seconds(self.spec.warmup);
        let mut to = from + clock::seconds(self.spec.seconds);
        let accounts = Accounts::open(self.spec, self.accounts)?;
        let pids = broker.as_ref().and_then(|server| server.pids());
        let asked = self.spec.options.pause;
        // Whichever way this function is left, a broker that stands still goes on.
        let mut fault = std::pin::pin!(pause::pause(asked, pids.clone(), Begin { start, from }));
        let usage = || pids.as_ref().map(|pids| Usage::of_tree(pids));
        let mut usages: (Option<Usage>, Option<Usage>) = (None, None);
        if self.spec.load.kind == LoadKind::Drain {
            usages.0 = Some(usage().unwrap_or_default());
            self.fill(&accounts, &mut broker, start, &mut watch).await?;
            self.backlog[0] = accounts.missing();
            self.roles.tell_all(&ToRole::Drain);
            // Nothing is left to be sent: from here on there is only draining.
            (from, to) = (start, clock::now());
        }
        // Messages move until all is sent, then until all has arrived. What
        // stands still for longer than the drain deadline has failed.
        let drain = clock::seconds(self.spec.drain);
        let mut last_move = (0, to);
        let mut own = None;
        let mut next_check = 0;
        let mut next_proof = 0;
        loop {
            // The broker's cost is read when the measured window opens and closes.
            let wake = if usages.0.is_none() { from } else { to };
            let pause = match wake.saturating_sub(clock::now()) {
                0 => LOOK,
                until => Duration::from_nanos(until).min(PEEK),
            };
            tokio::select! {
                (number, heard) = self.roles.hear() => self.handle_event(number, heard)?,
                paused = &mut fault, if self.paused.is_none() => self.paused = Some(paused?),
                () = tokio::time::sleep(pause) => {}
            }
            let now = clock::now();
            if now >= wake && usages.1.is_none() {
                let slot = if usages.0.is_none() { &mut usages.0 } else { &mut usages.1 };
                *slot = Some(usage().unwrap_or_default());
                match own {
                    None => own = Some(process_cpu()),
                    Some(before) => self.supervisor_cpu = Some(process_cpu() - before),
                }
                if self.spec.load.is_open() {
                    self.backlog[usize::from(usages.1.is_some())] = accounts.missing();
                }
            }
            let (sent, received) = accounts.moved();
            if received != last_move.0 {
                last_move = (received, now.max(to));
            }
            if now >= next_check {
                next_check = now + SECOND / 10;
                if let Some(gone) = broker.as_mut().and_then(|server| server.died()) {
                    bail!("the broker died: {gone}");
                }
                let what = if now < from {
                    "warming up"
                } else if now < to {
                    "measuring"
                } else {
                    "draining"
                };
                let at = (now as f64 - start as f64) / 1e9;
                watch(&Watch { at, ends: (to - start) as f64 / 1e9, what, ..accounts.watch() });
            }
            if now < to || usages.1.is_none() {
                continue;
            }
            if self.spec.load.kind == LoadKind::Drain {
                usages.1 = Some(usage().unwrap_or_default());
            }
            if pids.is_some() {
                self.measured = Some(usages.1.unwrap_or_default() - usages.0.unwrap_or_default());
            }
            let faulted = asked.is_none() || self.paused.is_some();
            if faulted && self.all_sent() && accounts.complete() && now >= next_proof {
                // Counters say so, quickly; the sets of messages have the last word.
                if !accounts.is_shared() || nothing_is_missing(self.spec, self.accounts)? {
                    return Ok(());
                }
                next_proof = now + PROOF;
            }
            if now - last_move.1 > drain {
                let seconds = self.spec.drain;
                let missing = match accounts.is_shared() {
                    true => reconcile(self.spec, self.accounts, Ending::Drained)?.counts.lost,
                    false => accounts.missing(),
                };
                bail!(
                    "stalled: nothing was received for {seconds} s with {missing} of {sent} messages still to come{}",
                    if self.all_sent() { "" } else { ", and the sender is stuck" }
                );
            }
        }
    }

    /// Waits until the backlog is there: everything sent and confirmed, and nobody
    /// to receive it.
    async fn fill(
        &mut self,
        accounts: &Accounts,
        broker: &mut Option<&mut Server>,
        start: u64,
        watch: &mut impl FnMut(&Watch<'_>),
    ) -> Result<()> {
        let mut last_move = (0, clock::now());
        while !self.all_sent() {
            tokio::select! {
                (number, heard) = self.roles.hear() => self.handle_event(number, heard)?,
                () = tokio::time::sleep(PEEK) => {}
            }
            if let Some(gone) = broker.as_mut().and_then(|server| server.died()) {
                bail!("the broker died: {gone}");
            }
            let (now, (sent, _)) = (clock::now(), accounts.moved());
            let at = (now as f64 - start as f64) / 1e9;
            watch(&Watch { at, what: "queueing up", ..accounts.watch() });
            if sent != last_move.0 {
                last_move = (sent, now);
            }
            if now.saturating_sub(last_move.1) > clock::seconds(self.spec.drain) {
                bail!(
                    "stalled: nothing more was accepted for {} s, with {sent} messages queued up",
                    self.spec.drain
                );
            }
        }
        Ok(())
    }

    fn all_sent(&self) -> bool {
        let first = kinds(self.spec.handle.entry.pattern)[0];
        self.roles.all.iter().filter(|role| role.kind == first).all(|role| role.done)
    }

    fn handle_event(&self, number: usize, heard: Heard) -> Result<()> {
        let name = &self.roles.all[number].name;
        match heard {
            Heard::Line(FromRole::Failed { error }) => bail!("{name}: {error}"),
            Heard::Left(why) => {
                bail!("{name} crashed: {}", why.unwrap_or_else(|| "it left without a word".into()))
            }
            Heard::Line(_) | Heard::Remote(_) => Ok(()),
        }
    }
}

/// Waits for something, unless the broker dies first.
async fn until_dead<T>(broker: &mut Option<&mut Server>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let death = async {
        let Some(server) = broker else { return pending().await };
        loop {
            if let Some(gone) = server.died() {
                return gone;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        done = work => done,
        gone = death => bail!("the broker died: {gone}"),
    }
}
