//! Starts a role: gives it its place and its runtime, and listens for what it is told.

use std::sync::Arc;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use labs::lab::{Directory, Place, Registry};
use tokio::sync::{mpsc, watch};

use super::context::RoleContext;
use super::handle::Outbox;
use super::protocol::{FromRole, Init, RoleCommand, ToRole};
use super::runtime::{RUNTIME_THREADS, runtime};

/// Runs a role in its place and its runtime, and reports when it fails.
pub(super) fn start_role<F: Future<Output = Result<()>> + 'static>(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: fn(RoleContext) -> F,
) -> Result<()> {
    // Boxed once a run, so that what is around it is compiled once and not for each lab.
    set(init, inbox, outbox, registry, &|context| Box::pin(play(context)))
}

fn set(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
    play: &dyn Fn(RoleContext) -> LocalBoxFuture<'static, Result<()>>,
) -> Result<()> {
    let role = init.role();
    let directory = Arc::new(Directory::conducted());
    let place = Place::new(&init.name, init.url.as_deref())
        .with_role(&role)
        .with_directory(Arc::clone(&directory))
        .with_bind(init.bind.clone())
        .with_knobs(init.knobs.clone())
        .with_registry(registry);
    let threads = place.knob(RUNTIME_THREADS);
    let failed = Arc::clone(&outbox);
    let result = runtime(threads)?.block_on(async {
        let (start, started) = watch::channel(None);
        let (drain, draining) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (act, acts) = mpsc::unbounded_channel();
        tokio::spawn(listen(inbox, Arc::clone(&directory), Cues { start, drain, stop, act }));
        tokio::spawn(announce(directory, Arc::clone(&outbox)));
        play(RoleContext { init, place, outbox, started, draining, stopped, acts }).await
    });
    if let Err(error) = &result {
        failed(FromRole::Failed { error: format!("{error:#}") });
    }
    result
}

/// What a role is told while it plays.
struct Cues {
    start: watch::Sender<Option<u64>>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    act: mpsc::UnboundedSender<RoleCommand>,
}

/// Takes the supervisor's lines as they come, whatever the role is busy with.
async fn listen(mut inbox: mpsc::UnboundedReceiver<ToRole>, directory: Arc<Directory>, cues: Cues) {
    let Cues { start, drain, stop, act } = cues;
    while let Some(line) = inbox.recv().await {
        match line {
            ToRole::Init(_) => {}
            ToRole::Peers { peers } => {
                peers.into_iter().for_each(|(namespace, addresses)| directory.tell(&namespace, addresses));
            }
            ToRole::Go { start: at } => start.send_modify(|start| *start = Some(at)),
            ToRole::Drain => drain.send_modify(|drain| *drain = true),
            // A role that has ended needs no more telling.
            ToRole::Command(what) => drop(act.send(what)),
            ToRole::Stop => stop.send_modify(|stop| *stop = true),
        }
    }
    // The supervisor has gone: there is nobody to play for.
    stop.send_modify(|stop| *stop = true);
    std::future::pending::<()>().await;
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
