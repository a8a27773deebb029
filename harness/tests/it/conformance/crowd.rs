//! A crowd: the largest number of roles that a lab may have, up to eight of each kind, driven by
//! the loops that measure, as processes. All of them are served, and nothing is lost.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use harness::broker::{Options, Server, Source};
use harness::process::guard;
use harness::results::{Load, LoadKind};
use harness::roles::protocol::Kind;
use harness::roles::{self, Handle, Handles};
use harness::supervisor::Placement;
use harness::trial::{self, Spec, TrialOptions};
use labs::catalog::Visitor as _;
use labs::lab::Overload;
use libtest_mimic::Trial;

use super::Site;
use super::faulty::fault::{DEAF, NONE};
use super::faulty::{Faulty, SAYS_WAITS};
use crate::needs::often;

/// Senders and receivers.
const CROWD: usize = 8;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = roles::handles()
        .into_iter()
        .map(|handle| {
            let (name, broker) = (format!("conformance::{}::crowd", handle.entry.name), handle.entry.broker);
            let entry = handle.entry.clone();
            // A crowd takes seventeen processes.
            often(&entry, super::trial(name, broker, move || crowd(&handle, BTreeMap::new(), 30.0)))
        })
        .collect();
    trials.push(super::trial("broken::oneway_crowd".to_owned(), None, proof));
    trials
}

/// The most of both kinds that the lab may have.
fn shape(handle: &Handle) -> Result<(usize, usize)> {
    let shapes = [(CROWD, CROWD), (CROWD, 1), (1, CROWD)];
    let fits = |(senders, receivers): &(usize, usize)| {
        trial::check_shape(handle, LoadKind::Max, *senders, *receivers).is_ok()
            && handle.publishers.is_none_or(|most| *senders <= most)
    };
    shapes.into_iter().find(fits).with_context(|| format!("{} has no crowd", handle.entry.name))
}

/// The longest time that senders get until each of them has had its turn, seconds.
const LONGEST: f64 = 25.6;

fn crowd(handle: &Handle, knobs: BTreeMap<String, usize>, drain: f64) -> Result<()> {
    let (name, (senders, receivers)) = (&handle.entry.name, shape(handle)?);
    let mut spec = Spec {
        handle: handle.clone(),
        size: 64,
        load: Load::max(),
        senders,
        receivers,
        warmup: 0.05,
        seconds: 0.2,
        drain,
        window: Some(512),
        knobs,
        seed: 1,
        placement: Placement { threads: handle.entry.in_process(), ..Placement::default() },
        null_rate: f64::INFINITY,
        options: TrialOptions::default(),
    };
    // On a busy machine all of it may come before or after the measured time.
    let outside = |why: &String| why.starts_with("nothing was received in the measured time");
    let site = Site::new(&format!("{name}-crowd"), handle.entry.broker)?;
    let trial = loop {
        let run = async {
            let mut server = None;
            if let (Some(broker), Some(address)) =
                (handle.entry.broker, site.init(name, Kind::Sender, 0).address)
            {
                let options = Options { durable: true, dir: &guard::session_dir(), settings: &[] };
                server = Some(Server::start(broker, &Source::Url(address), &options).await?);
            }
            trial::run(&spec, server.as_mut(), 0, 0, |_| {}).await
        };
        let trial = roles::runtime(0)?.block_on(run)?.trial;
        // On a busy machine the time may be over before the last sender has begun.
        let all_sent = trial.counts.sent >= senders as u64;
        if all_sent || !trial.failed.as_ref().is_none_or(outside) || spec.seconds >= LONGEST {
            break trial;
        }
        spec.seconds *= 2.0;
    };
    let (counts, copies) = (trial.counts, handle.entry.pattern.copies(receivers));
    ensure!(trial.failed.as_ref().is_none_or(outside), "crowd: {:?}, {counts:?}", trial.failed);
    ensure!(counts.sent >= senders as u64 && counts.received > 0, "crowd: {counts:?}");
    if matches!(handle.entry.overload, Overload::Waits | Overload::Stores) {
        ensure!(counts.received == (counts.sent - counts.refused) * copies, "crowd: {counts:?}");
    }
    ensure!(counts.corrupt + counts.misrouted + counts.messages_skipped == 0, "crowd: {counts:?}");
    Ok(())
}

/// A lab that hears only the first senders is told from one that hears all.
fn proof() -> Result<()> {
    let mut labs = Handles::new();
    labs.one_way::<Faulty<SAYS_WAITS>>();
    let handle = labs.0.first().context("no lab")?;
    let held = |fault: usize| {
        // Its roles are threads: they share what the registry has.
        let mut handle = handle.clone();
        handle.entry.transport = "inproc";
        crowd(&handle, BTreeMap::from([("fault".to_owned(), fault)]), 3.0)
    };
    held(NONE).context("a lab that serves a crowd is accused")?;
    let error = held(DEAF).err().context("a lab that is deaf to most of a crowd goes unnoticed")?;
    ensure!(format!("{error:#}").contains("stalled"), "it was noticed for another reason: {error:#}");
    Ok(())
}
