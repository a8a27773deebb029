//! The connections of a requester to its responders, peer to peer.
//!
//! Each connection has a task of its own, which writes requests and reads replies, so that a dropped
//! `ask` can never leave half a request on the wire. When the connection is lost, the requests that
//! wait for this responder fail with [`ConnectionLost`], and no others. The task connects again to
//! the same address, for as long as it takes; meanwhile the other responders get the requests. While
//! all of them are away, an `ask` waits, for at most 30 s.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::lab::Place;
use crate::printable::causes;
use crate::recovery::{ConnectionLost, Delays, Retry, disconnected, is_transient};
use crate::reqrep::correlation::{Pending, Ticket};

/// How long an `ask` waits for a responder to come back.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection over which many requests are asked at once.
pub(crate) trait Exchange: Sized + Send + 'static {
    /// Connects to a responder that has announced itself.
    fn connect(address: &str) -> impl Future<Output = Result<Self>> + Send;
    /// Writes requests, as many at a time as there are, and gives each reply to the `ask` that waits
    /// for its identifier. It reads while it writes: a responder whose replies nobody reads stops
    /// reading requests. Returns when the requester has gone; an error when the connection has ended.
    fn exchange(
        &mut self,
        requests: &mut mpsc::Receiver<(u64, Bytes)>,
        pending: &Pending,
        place: &Place,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// The connections to all responders.
pub(crate) struct Responders {
    links: Vec<Link>,
    /// Whose turn it is.
    next: AtomicUsize,
    /// Changes when a connection is open again.
    reopened: watch::Receiver<()>,
    _tasks: JoinSet<()>,
}

/// The way to one responder's task, and who waits for its replies: closed while it is away.
struct Link {
    requests: mpsc::Sender<(u64, Bytes)>,
    pending: Pending,
}

impl Responders {
    /// Connects to every responder of the place. Up to `depth` requests wait to be written to each.
    pub(crate) async fn connect<E: Exchange>(place: &Place, depth: usize) -> Result<Self> {
        let (reopening, reopened) = watch::channel(());
        let (mut links, mut tasks) = (Vec::new(), JoinSet::new());
        for address in place.peers().await? {
            let connection = E::connect(&address).await?;
            let (requests, to_write) = mpsc::channel(depth);
            let pending = Pending::default();
            let (place, reopening) = (place.clone(), reopening.clone());
            tasks.spawn(stay_connected(connection, address, to_write, pending.clone(), place, reopening));
            links.push(Link { requests, pending });
        }
        Ok(Self { links, next: AtomicUsize::new(0), reopened, _tasks: tasks })
    }

    /// Asks the next responder that is here, and waits for its reply without a limit.
    pub(crate) async fn ask(&self, request: Bytes) -> Result<Bytes> {
        let (link, ticket) = match self.register() {
            Ok(next) => next,
            Err(error) => self.register_later(error).await?,
        };
        let sent = link.requests.send((ticket.id(), request)).await;
        sent.ok().context(ConnectionLost)?;
        ticket.reply().await.context(ConnectionLost)
    }

    fn register(&self) -> Result<(&Link, Ticket)> {
        let (next, mut latest) = (self.next.fetch_add(1, Ordering::Relaxed), None);
        for at in 0..self.links.len() {
            let link = &self.links[next.wrapping_add(at) % self.links.len()];
            match link.pending.register() {
                Ok(ticket) => return Ok((link, ticket)),
                Err(error) => latest = Some(error),
            }
        }
        match latest {
            Some(error) => Err(error),
            None => bail!("this requester has no responder"),
        }
    }

    /// Waits for a responder to come back.
    #[cold]
    async fn register_later(&self, mut error: anyhow::Error) -> Result<(&Link, Ticket)> {
        let mut reopened = self.reopened.clone();
        let waiting = async {
            loop {
                // A table that is full is not a lost connection.
                if !is_transient(&error) {
                    return Err(anyhow::anyhow!("{error:#}"));
                }
                reopened.mark_unchanged();
                match self.register() {
                    Ok(next) => return Ok(next),
                    Err(again) => error = again,
                }
                reopened.changed().await.context("this requester has gone")?;
            }
        };
        let waited = timeout(LIMIT, waiting).await;
        // Final: it was tried for long.
        waited.unwrap_or_else(|_| bail!("no responder has come back within {} s", LIMIT.as_secs()))
    }
}

/// Keeps the connection to one responder until the requester has gone.
async fn stay_connected<E: Exchange>(
    mut connection: E,
    address: String,
    mut requests: mpsc::Receiver<(u64, Bytes)>,
    pending: Pending,
    place: Place,
    reopened: watch::Sender<()>,
) {
    while let Err(error) = connection.exchange(&mut requests, &pending, &place).await {
        let why = causes(&error);
        place.connection_lost(&why);
        pending.close_because(&why);
        let mut retry = Retry::new(Delays::default());
        connection = loop {
            sleep(retry.delay()).await;
            let attempt = timeout(Delays::default().attempt, E::connect(&address));
            if let Ok(Ok(connection)) = attempt.await {
                break connection;
            }
        };
        // Requests that waited to be written have failed.
        while requests.try_recv().is_ok() {}
        place.reconnected(retry.reopened(&why));
        pending.open_again();
        reopened.send_replace(());
    }
}

/// The error of a connection whose other side has closed it.
pub(crate) fn responder_has_closed() -> anyhow::Error {
    disconnected("the responder has closed the connection")
}
