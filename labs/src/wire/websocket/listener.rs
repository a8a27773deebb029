//! The side that binds: it accepts connections and reads messages from all of them.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use anyhow::Result;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use super::{WsConnection, check};
use crate::wire::sockets::{Acceptor, Bound, ConnectionId, Joined, Socket};

/// Messages taken from one connection before the next has its turn.
const TURN: usize = 256;

/// Accepts connections, reads messages from all of them in turn, and writes to each.
pub struct WsListener {
    /// Does the handshake with new peers in the meantime.
    acceptor: Acceptor<WsConnection>,
    /// By number; `None` where the connection has ended.
    connections: Vec<Option<WsConnection>>,
    /// The connection that is read now, and how many messages it has had in this turn.
    turn: (ConnectionId, usize),
}

impl WsListener {
    /// A listener without connections.
    pub fn new(bound: Bound) -> Self {
        Self { acceptor: Acceptor::start(bound, accept), connections: Vec::new(), turn: (0, 0) }
    }

    /// The next message of any connection. What was put is written while this waits.
    /// `None` when there were connections and all have ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<(ConnectionId, Bytes)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Accepts a message for a connection. A peer that has left misses it.
    pub fn put(&mut self, id: ConnectionId, message: Message) -> Result<()> {
        check(&message)?;
        if let Some(Some(ws)) = self.connections.get_mut(id)
            && ws.put(message).is_err()
        {
            self.connections[id] = None;
        }
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ConnectionId, Bytes)>> {
        // Stay with one connection while there is something: most calls end here.
        if self.turn.1 < TURN
            && let Poll::Ready(Some(next)) = self.poll_connection(cx)
        {
            return Poll::Ready(Some(next));
        }
        while let Poll::Ready(Some(ws)) = self.acceptor.poll_joined(cx) {
            self.connections.push(Some(ws));
        }
        for _ in 0..self.connections.len() {
            self.turn = ((self.turn.0 + 1) % self.connections.len(), 0);
            if let Poll::Ready(Some(next)) = self.poll_connection(cx) {
                return Poll::Ready(Some(next));
            }
        }
        let all_left = !self.connections.is_empty() && self.connections.iter().all(Option::is_none);
        if all_left { Poll::Ready(None) } else { Poll::Pending }
    }

    /// The next message of the connection whose turn it is.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ConnectionId, Bytes)>> {
        let id = self.turn.0;
        let Some(Some(ws)) = self.connections.get_mut(id) else { return Poll::Ready(None) };
        match ready!(ws.poll_next(cx)) {
            Ok(Some(body)) => {
                self.turn.1 += 1;
                Poll::Ready(Some((id, body)))
            }
            // A connection that breaks has ended, like one that was closed.
            Ok(None) | Err(_) => {
                self.connections[id] = None;
                Poll::Ready(None)
            }
        }
    }
}

/// The handshake: the answer to the HTTP request that becomes a WebSocket.
async fn accept(socket: Socket, joined: Joined<WsConnection>) -> Result<()> {
    let room = joined.reserve_owned().await?;
    room.send(WsConnection::accept(socket).await?);
    Ok(())
}
