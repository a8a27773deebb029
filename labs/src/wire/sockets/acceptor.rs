//! Handshakes with peers that connect, while the lab does other things.

use std::fmt::Display;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Error, Result};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Bound, MAX_CONNECTIONS, PATIENCE, Socket, Stalled};
use crate::lab::Place;

/// Where a handshake puts a peer that has joined.
pub type Joined<P> = mpsc::Sender<P>;

/// Accepts connections and does the handshake with each, in tasks of its own. Dropping it
/// ends them.
pub struct Acceptor<P> {
    joined: mpsc::Receiver<P>,
    slots: Arc<Semaphore>,
    place: Place,
    _task: JoinSet<()>,
}

impl<P: Send + 'static> Acceptor<P> {
    /// Does `handshake` with every peer that connects; it hands in the peers that have joined. A
    /// peer whose handshake fails, or takes too long, is disconnected.
    pub fn start<F>(bound: Bound, handshake: impl Fn(Socket, Joined<P>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // As many as there can be: whoever has done the handshake need not wait.
        let (join, joined) = mpsc::channel(MAX_CONNECTIONS);
        let (slots, place, mut task) = (bound.slots(), bound.place().clone(), JoinSet::new());
        let counts = place.clone();
        task.spawn(serve_each(bound, move |socket| {
            let (handshake, place) = (handshake(socket, join.clone()), counts.clone());
            async move {
                match timeout(PATIENCE, handshake).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => place.peer_disconnected(format_args!("{error:#}")),
                    Err(_) => place.peer_disconnected(format_args!("no handshake within {PATIENCE:?}")),
                }
            }
        }));
        Self { joined, slots, place, _task: task }
    }

    /// Whether peers have joined since this was last asked, or cannot because there are too many.
    pub fn has_news(&self) -> bool {
        !self.joined.is_empty() || self.slots.available_permits() == 0
    }

    /// Whether a peer that had joined is still there, from what is known of its connection's end;
    /// one that broke the protocol is counted.
    pub fn is_here(&self, ended: Option<Result<()>>) -> bool {
        if let Some(Err(error)) = &ended {
            self.disconnected(format_args!("{error:#}"));
        }
        ended.is_none()
    }

    /// A peer could not be written to. It has left, which is no error; or it takes nothing, and is
    /// counted.
    pub fn write_failed(&self, error: &Error) {
        if error.is::<Stalled>() {
            self.disconnected(format_args!("{error:#}"));
        }
    }

    /// Counts a peer that had joined, and broke the protocol.
    pub fn disconnected(&self, why: impl Display) {
        self.place.peer_disconnected(why);
    }

    /// The peers that have joined since this was last asked.
    pub fn newcomers(&mut self) -> impl Iterator<Item = P> {
        std::iter::from_fn(|| self.joined.try_recv().ok())
    }

    /// The next peer that joins.
    pub fn poll_joined(&mut self, cx: &mut Context<'_>) -> Poll<Option<P>> {
        self.joined.poll_recv(cx)
    }
}

/// Accepts connections and serves each in a task of its own. Never returns.
pub(crate) async fn serve_each<F>(mut bound: Bound, serve: impl Fn(Socket) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let socket = bound.accept().await;
        connections.spawn(serve(socket));
        while connections.try_join_next().is_some() {}
    }
}
