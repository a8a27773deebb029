//! Handshakes with peers that connect, while the lab does other things.

use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Bound, Socket};

/// Peers that have done the handshake and that the lab has not taken yet; also those in the
/// middle of it.
const JOINING: usize = 1024;
/// A peer that has not done the handshake after so long is disconnected.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// When no connection can be accepted (too many files are open), the next
/// attempt is made after this.
const RETRY: Duration = Duration::from_millis(10);

/// Where a handshake puts a peer that has joined.
pub type Joined<P> = mpsc::Sender<P>;

/// Accepts connections and does the handshake with each, in tasks of its own. Dropping it
/// ends them.
pub struct Acceptor<P> {
    joined: mpsc::Receiver<P>,
    _task: JoinSet<()>,
}

impl<P: Send + 'static> Acceptor<P> {
    /// Does `handshake` with every peer that connects; it hands in the peers that have joined.
    pub fn start<F>(bound: Bound, handshake: impl Fn(Socket, Joined<P>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (join, joined) = mpsc::channel(JOINING);
        let mut task = JoinSet::new();
        task.spawn(serve_each(bound, JOINING, move |socket| {
            // A peer whose handshake fails or takes too long has not joined: that is all.
            timeout(HANDSHAKE, handshake(socket, join.clone())).map(drop)
        }));
        Self { joined, _task: task }
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

/// Accepts connections and serves each in a task of its own, at most `most` at once. Never
/// returns.
pub(crate) async fn serve_each<F>(bound: Bound, most: usize, serve: impl Fn(Socket) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        match bound.accept().await {
            Ok(socket) => drop(connections.spawn(serve(socket))),
            Err(_) => sleep(RETRY).await,
        }
        while connections.try_join_next().is_some() {}
        if connections.len() >= most {
            connections.join_next().await;
        }
    }
}
