//! Starts a role: gives it its place and its runtime, and passes on the supervisor's
//! lines.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use labs::incidents::IncidentCounts;
use labs::lab::{Directory, Place, Registry};
use labs::printable::causes;
use tokio::sync::{mpsc, watch};

use super::context::RoleContext;
use super::handle::Outbox;
use super::own_address;
use super::protocol::{Event, FromRole, Init, RoleCommand, ToRole, What};
use super::runtime::{RUNTIME_THREADS, runtime};
use crate::measure::account::mapped::NoRoom;
use crate::measure::account::{Counter, Counters};

/// Incidents are told this often at most.
const INCIDENT_PAUSE: Duration = Duration::from_millis(200);

/// Runs a role in its place and its runtime, and reports when it fails.
pub(super) fn start_role<F: Future<Output = Result<()>> + 'static>(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: fn(RoleContext) -> F,
) -> Result<()> {
    // Boxed once per run, so that the code around it is compiled once and not for each lab.
    set(init, inbox, outbox, registry, &|context| Box::pin(play(context)))
}

fn set(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: &dyn Fn(RoleContext) -> LocalBoxFuture<'static, Result<()>>,
) -> Result<()> {
    let (role, address) = (init.role(), init.address.clone());
    let directory = Arc::new(Directory::supervised());
    let failed = Arc::clone(&outbox);
    let bind = own_address::resolved(&init.bind)
        .inspect_err(|error| failed(FromRole::Failed { error: causes(error) }))?;
    let place = Place::new(&init.name, init.address.as_ref())
        .with_role(&role)
        .with_directory(Arc::clone(&directory))
        .with_bind(bind)
        .with_knobs(init.knobs.clone())
        .with_registry(registry);
    let threads = place.knob(RUNTIME_THREADS);
    let runtime = runtime(threads)?;
    let playing = async {
        let (start, started) = watch::channel(None);
        let (drain, draining) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (act, acts) = mpsc::unbounded_channel();
        tokio::spawn(listen(inbox, Arc::clone(&directory), Inputs { start, drain, stop, act }));
        tokio::spawn(announce(directory, Arc::clone(&outbox)));
        let counters = init.measure.as_ref().map(|measure| Counters::open(&measure.accounts, &role));
        let counters = counters.transpose()?.map(Arc::new);
        tokio::spawn(note_incidents(place.clone(), counters.clone(), Arc::clone(&outbox)));
        let incidents = place.clone();
        let played = play(RoleContext { init, place, outbox, started, draining, stopped, acts }).await;
        if let Some(counters) = counters {
            note(&counters, &incidents.incidents().counts());
        }
        played
    };
    let unwinding = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(playing)));
    let result = unwinding.unwrap_or_else(|payload| match NoRoom::of(payload.as_ref()) {
        Some(why) => Err(anyhow::Error::msg(why.to_owned())),
        None => std::panic::resume_unwind(payload),
    });
    if let Err(error) = &result {
        // What the broker said is in here, and it may have repeated what it got.
        let text = causes(error);
        let text = address.map_or_else(|| text.clone(), |address| address.without_secrets(&text));
        failed(FromRole::Failed { error: text });
    }
    result
}

/// The channels through which a running role gets the supervisor's lines.
struct Inputs {
    start: watch::Sender<Option<u64>>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    act: mpsc::UnboundedSender<RoleCommand>,
}

/// Reads the supervisor's lines at once, even while the role is busy.
async fn listen(mut inbox: mpsc::UnboundedReceiver<ToRole>, directory: Arc<Directory>, inputs: Inputs) {
    let Inputs { start, drain, stop, act } = inputs;
    while let Some(line) = inbox.recv().await {
        match line {
            ToRole::Init(_) => {}
            ToRole::Peers { peers } => {
                peers.into_iter().for_each(|(namespace, addresses)| directory.tell(&namespace, addresses));
            }
            ToRole::Go { start: at } => start.send_modify(|start| *start = Some(at)),
            ToRole::Drain => drain.send_modify(|drain| *drain = true),
            // A role that has ended needs no more lines.
            ToRole::Command(what) => drop(act.send(what)),
            ToRole::Stop => stop.send_modify(|stop| *stop = true),
        }
    }
    // The supervisor has ended, so the role ends, too.
    stop.send_modify(|stop| *stop = true);
    std::future::pending::<()>().await;
}

/// Shows what others did wrong: in the account of a role that is measured, else as an event.
async fn note_incidents(place: Place, counters: Option<Arc<Counters>>, outbox: Outbox) {
    let mut incidents = place.incidents().watch();
    let mut told = IncidentCounts::default();
    while incidents.changed().await.is_ok() {
        let counts = incidents.borrow_and_update().clone();
        let latest = counts.latest.clone().unwrap_or_default();
        // The times of these count. They come no faster than the role tries to connect.
        let lost = counts.connections_lost > told.connections_lost;
        let back = counts.reconnects > told.reconnects;
        if counters.is_some() && lost {
            outbox(FromRole::Event(Event::new(What::ConnectionLost, latest.clone())));
        }
        if counters.is_some() && back {
            outbox(FromRole::Event(Event::new(What::Reconnected, latest)));
        }
        match &counters {
            Some(counters) => note(counters, &counts),
            None => outbox(FromRole::Event(Event::new(What::Incident, counts.to_string()))),
        }
        told = counts;
        if lost || back {
            continue;
        }
        // A flood of incidents is told a few times a second.
        tokio::time::sleep(INCIDENT_PAUSE).await;
    }
}

fn note(counters: &Counters, incidents: &IncidentCounts) {
    counters.set(Counter::PeersDisconnected, incidents.peers_disconnected);
    counters.set(Counter::MessagesSkipped, incidents.messages_skipped);
}

async fn announce(directory: Arc<Directory>, outbox: Outbox) {
    let mut announcements = directory.announcements();
    let mut told = 0;
    loop {
        let list = announcements.borrow_and_update().clone();
        for (namespace, address) in &list[told..] {
            outbox(FromRole::Bound { namespace: namespace.clone(), address: address.clone() });
        }
        told = list.len();
        if announcements.changed().await.is_err() {
            return;
        }
    }
}
