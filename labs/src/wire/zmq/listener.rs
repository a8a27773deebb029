//! The side that binds: connections are accepted here, within the limits of all listeners, and
//! handed to the ØMQ socket.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeromq::{
    CodecError, Endpoint, MultiPeerBackend, ReadGuard, ZmqError, accept_stream, tune_socket_buffers,
};

use crate::lab::Place;
use crate::wire::sockets::{Bound, PATIENCE, Room, Share, Socket, serve_each};

/// What the crate reads at once; a longer message waits for room, bytes.
const SHORT_MESSAGE: usize = 64 << 10;

/// Accepts connections for a socket until it is dropped.
pub struct Accepting {
    _task: JoinSet<()>,
}

impl Accepting {
    pub(super) fn start(bound: Bound, backend: Arc<dyn MultiPeerBackend>) -> Self {
        let (place, room, mut task) = (bound.place().clone(), Room::new(), JoinSet::new());
        task.spawn(serve_each(bound, move |socket| {
            let guard = Guard { share: Share::of(&room), place: place.clone() };
            let (backend, place) = (Arc::clone(&backend), place.clone());
            async move {
                match timeout(PATIENCE, accept(socket, backend, guard)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => place.peer_disconnected(format_args!("{error:#}")),
                    Err(_) => place.peer_disconnected(format_args!("no handshake within {PATIENCE:?}")),
                }
            }
        }));
        Self { _task: task }
    }

    /// For a socket that connects.
    pub fn none() -> Self {
        Self { _task: JoinSet::new() }
    }
}

/// Does the handshake; an error if the peer does not speak ZMTP, or to no socket of this type.
async fn accept(socket: Socket, backend: Arc<dyn MultiPeerBackend>, guard: Guard) -> Result<()> {
    let stream = socket.into_stream()?;
    tune_socket_buffers(stream.tcp());
    let peer = stream.tcp().peer_addr()?;
    // A peer that leaves before it has sent anything has only looked in.
    if stream.is_closed().await {
        return Ok(());
    }
    match accept_stream(backend, stream, Endpoint::from_tcp_addr(peer), Box::new(guard)).await {
        // The guard has counted that, where it counts.
        Ok(()) | Err(ZmqError::Codec(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Watches over the connection of one peer.
struct Guard {
    share: Share,
    place: Place,
}

impl ReadGuard for Guard {
    fn poll_room(&mut self, len: usize, cx: &mut Context<'_>) -> Poll<()> {
        if len <= SHORT_MESSAGE {
            self.share.release();
            return Poll::Ready(());
        }
        self.share.poll_room(len, cx)
    }

    fn came(&mut self, bytes: usize) {
        self.share.came(bytes);
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.share.is_held() {
            return Poll::Pending;
        }
        self.share.poll_stalled(cx).map(|error| io::Error::new(io::ErrorKind::TimedOut, error.to_string()))
    }

    fn failed(&mut self, error: &CodecError) {
        // A connection that breaks is like one that was closed, unless that is in the middle of a
        // message.
        let broke = |error: &io::Error| {
            !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::TimedOut)
        };
        if !matches!(error, CodecError::Io(error) if broke(error)) {
            self.place.peer_disconnected(error);
        }
    }
}
