//! The side that binds: it accepts connections and reads messages from all of them.

use std::fmt::Display;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use super::{WsConnection, check};
use crate::wire::sockets::{Acceptor, Bound, ConnectionId, Connections, Joined, Room, Socket};

/// Messages taken from one connection before the next has its turn.
const TURN: usize = 256;

/// Accepts connections, reads messages from all of them in turn, and writes to each.
pub struct WsListener {
    /// Does the handshake with new peers in the meantime.
    acceptor: Acceptor<WsConnection>,
    connections: Connections<WsConnection>,
    /// How many messages the connection that is read now has had in this turn.
    turn: usize,
    /// A message came from somebody.
    heard: bool,
}

impl WsListener {
    /// A listener without connections.
    pub fn new(bound: Bound) -> Self {
        let room = Room::new();
        let acceptor =
            Acceptor::start(bound, move |socket, joined| accept(socket, Arc::clone(&room), joined));
        Self { acceptor, connections: Connections::default(), turn: 0, heard: false }
    }

    /// The next message of any connection. What was put is written while this waits.
    /// `None` when all connections have ended, and a message had come over one; the call after that
    /// waits for others. Cancel-safe.
    pub async fn next(&mut self) -> Option<(ConnectionId, Bytes)> {
        let next = poll_fn(|cx| self.poll_next(cx)).await;
        self.heard &= next.is_some();
        next
    }

    /// Accepts a message for a connection. A peer that has left misses it.
    pub fn put(&mut self, id: ConnectionId, message: Message) -> Result<()> {
        check(&message)?;
        if let Some(ws) = self.connections.get_mut(id)
            && ws.put(message).is_err()
        {
            self.connections.remove(id);
        }
        Ok(())
    }

    /// Closes the connection of a peer that has broken the protocol, and counts it.
    pub fn disconnect(&mut self, id: ConnectionId, why: impl Display) {
        if self.connections.remove(id).is_some() {
            self.acceptor.disconnected(why);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ConnectionId, Bytes)>> {
        // Stay with one connection while there is something: most calls end here.
        if self.turn < TURN
            && let Some(next) = self.read(cx)
        {
            return Poll::Ready(Some(next));
        }
        while let Poll::Ready(Some(ws)) = self.acceptor.poll_joined(cx) {
            self.connections.insert(ws);
        }
        for _ in 0..self.connections.len() {
            self.connections.advance();
            self.turn = 0;
            if let Some(next) = self.read(cx) {
                return Poll::Ready(Some(next));
            }
        }
        if self.heard && self.connections.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }

    /// The next message of the connection whose turn it is, if there is one now.
    fn read(&mut self, cx: &mut Context<'_>) -> Option<(ConnectionId, Bytes)> {
        let (id, ws) = self.connections.current()?;
        match ws.poll_next(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(Some(body))) => {
                self.turn += 1;
                self.heard = true;
                Some((id, body))
            }
            Poll::Ready(Ok(None)) => {
                self.connections.remove(id);
                None
            }
            Poll::Ready(Err(error)) => {
                self.disconnect(id, format_args!("{error:#}"));
                None
            }
        }
    }
}

/// The handshake: the answer to the HTTP request that becomes a WebSocket.
async fn accept(socket: Socket, room: Arc<Room>, joined: Joined<WsConnection>) -> Result<()> {
    if let Some(ws) = WsConnection::accept(socket, &room).await? {
        joined.send(ws).await?;
    }
    Ok(())
}
