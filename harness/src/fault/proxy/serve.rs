//! The connections of a proxy.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::pump::{Link, forward};
use super::socket::Socket;
use super::state::{Counters, Direction, Faults};

/// The most connections that are open at once; more are reset.
pub const MOST_CONNECTIONS: u64 = 1024;
/// How long nothing is accepted after the kernel has said no, as when files run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Accepts connections and forwards them, until the proxy has ended. Runs in a `LocalSet`.
pub(super) async fn serve<S: Socket>(
    listener: S::Listener,
    upstream: S::Address,
    faults: watch::Receiver<Faults>,
    counters: Arc<Counters>,
) {
    let upstream = Rc::new(upstream);
    let mut ending = faults.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = ending.wait_for(|faults| faults.closed) => break,
            accepted = S::accept(&listener) => match accepted {
                Ok(client) => {
                    counters.accepted.fetch_add(1, Ordering::Relaxed);
                    let accepted = *faults.borrow();
                    if accepted.refuse || counters.open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
                        counters.refused.fetch_add(1, Ordering::Relaxed);
                        client.reset();
                        continue;
                    }
                    let open = Open::new(counters.clone());
                    connections.spawn_local(connection(client, upstream.clone(), faults.clone(), accepted, open));
                }
                Err(_) => sleep(ACCEPT_AGAIN).await,
            },
            // So that the set does not grow.
            Some(_) = connections.join_next() => {}
        }
    }
    // Each sees that the proxy has ended, and is reset.
    while connections.join_next().await.is_some() {}
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, from its acceptance to its end.
async fn connection<S: Socket>(
    mut client: S,
    upstream: Rc<S::Address>,
    mut faults: watch::Receiver<Faults>,
    accepted: Faults,
    open: Open,
) {
    let connected = tokio::select! {
        connected = S::connect(&upstream) => connected,
        _ = faults.wait_for(|faults| faults.cuts != accepted.cuts || faults.closed) => {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    };
    let Ok(mut server) = connected else {
        open.0.refused.fetch_add(1, Ordering::Relaxed);
        return client.reset();
    };
    let link = || Link { counters: &open.0, faults: faults.clone(), accepted };
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            forward(from_client, to_server, Direction::Up, link()),
            forward(from_server, to_client, Direction::Down, link()),
        )
    };
    // An error of one side is passed on to the other.
    if ended.is_err() {
        client.reset();
        server.reset();
    }
}
