//! The side that binds: it accepts connections and reads frames from all of them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::FrameConnection;
use crate::wire::sockets::{Bound, ConnectionId};

/// What happens at a listener.
pub enum FrameEvent {
    /// A frame came over a connection.
    Frame(ConnectionId, Bytes),
    /// A connection has ended: the peer closed it, it broke, or we closed it.
    Closed(ConnectionId),
}

/// Accepts connections, reads frames from all of them in turn, and writes to each.
pub struct FrameListener {
    bound: Bound,
    /// By number; `None` where the connection has ended.
    connections: Vec<Option<FrameConnection>>,
    /// The connection that is read now: each has its turn.
    turn: ConnectionId,
    /// What has ended since [`FrameListener::event`] last said so.
    closed: VecDeque<ConnectionId>,
}

impl FrameListener {
    /// A listener without connections.
    pub fn new(bound: Bound) -> Self {
        Self { bound, connections: Vec::new(), turn: 0, closed: VecDeque::new() }
    }

    /// The next frame of any connection. What was put is written while this waits.
    /// `None` when there were connections and all have ended. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(ConnectionId, Bytes)>> {
        self.closed.clear();
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`FrameListener::next`], and says which connections have ended; waits while
    /// there is none. Cancel-safe.
    pub async fn event(&mut self) -> Result<FrameEvent> {
        poll_fn(|cx| {
            loop {
                if let Some(id) = self.closed.pop_front() {
                    return Poll::Ready(Ok(FrameEvent::Closed(id)));
                }
                match self.poll_next(cx) {
                    Poll::Ready(Ok(Some((id, frame)))) => {
                        return Poll::Ready(Ok(FrameEvent::Frame(id, frame)));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    _ if self.closed.is_empty() => return Poll::Pending,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Closes a connection, as of a peer that does not speak this protocol.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(slot) = self.connections.get_mut(id)
            && slot.take().is_some()
        {
            self.closed.push_back(id);
        }
    }

    /// Accepts a frame for a connection; `false` if it has ended.
    pub fn put(&mut self, id: ConnectionId, parts: &[&[u8]]) -> Result<bool> {
        match self.connections.get_mut(id) {
            Some(Some(connection)) => connection.put(parts).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Bytes accepted for a connection and not yet written.
    pub fn unwritten(&self, id: ConnectionId) -> usize {
        self.connections.get(id).and_then(Option::as_ref).map_or(0, FrameConnection::unwritten)
    }

    /// Writes all that was put. Connections that break meanwhile are forgotten.
    pub async fn flush(&mut self) {
        poll_fn(|cx| if self.write_all(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(ConnectionId, Bytes)>>> {
        // Stay with one connection while it has whole frames: most calls end here.
        match self.buffered()? {
            Some(next) => Poll::Ready(Ok(Some(next))),
            None => self.poll_others(cx),
        }
    }

    /// A frame that was read already from the connection whose turn it is.
    #[inline]
    fn buffered(&mut self) -> Result<Option<(ConnectionId, Bytes)>> {
        let Some(Some(connection)) = self.connections.get_mut(self.turn) else { return Ok(None) };
        Ok(connection.buffered()?.map(|frame| (self.turn, frame)))
    }

    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(ConnectionId, Bytes)>>> {
        loop {
            for _ in 0..self.connections.len() {
                self.turn = (self.turn + 1) % self.connections.len();
                if let Some(next) = self.buffered()? {
                    return Poll::Ready(Ok(Some(next)));
                }
            }
            let progress = self.accept(cx)? | self.read(cx);
            self.write_all(cx);
            if !self.connections.is_empty() && self.connections.iter().all(Option::is_none) {
                return Poll::Ready(Ok(None));
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let mut any = false;
        while let Poll::Ready(accepted) = self.bound.poll_accept(cx) {
            self.connections
                .push(Some(FrameConnection::new(accepted.context("cannot accept a connection")?)));
            any = true;
        }
        Ok(any)
    }

    /// A connection that breaks has ended, like one that was closed.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for (id, slot) in self.connections.iter_mut().enumerate() {
            let Some(connection) = slot else { continue };
            match connection.poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(read)) if read > 0 => any = true,
                Poll::Ready(_) => {
                    (*slot, any) = (None, true);
                    self.closed.push_back(id);
                }
            }
        }
        any
    }

    /// Whether everything is written.
    fn write_all(&mut self, cx: &mut Context<'_>) -> bool {
        let mut done = true;
        for (id, slot) in self.connections.iter_mut().enumerate() {
            let Some(connection) = slot else { continue };
            match connection.poll_flush(cx) {
                Poll::Pending => done = false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    *slot = None;
                    self.closed.push_back(id);
                }
            }
        }
        done
    }
}
