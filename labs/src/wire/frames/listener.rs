//! The side that binds: it accepts connections and reads frames from all of them.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyhow::{Error, Result};
use bytes::Bytes;
use tokio::time::Instant;
use tokio::time::{Sleep, sleep};

use super::FrameConnection;
use super::connection::READ;
use crate::wire::sockets::{Bound, ConnectionId, Connections, PATIENCE, Room, Share, Socket};

/// What may be read of each connection's frames without asking for [`Room`]: this, shared out
/// between them, bytes.
const SHORT_FRAMES: usize = 16 << 20;
/// More than this that is not written, over all connections, and those with something unwritten
/// are not read: what they ask for would come on top of it.
const MAX_UNWRITTEN: usize = 32 << 20;
/// A connection with more than this unwritten has enough, bytes.
const BUSY: usize = 64 << 10;

/// What happens at a listener.
pub enum FrameEvent {
    /// A frame came over a connection.
    Frame(ConnectionId, Bytes),
    /// A connection has ended: the peer closed it, it broke, or we closed it. Of all bytes that were
    /// put, the kernel has taken so many.
    Closed(ConnectionId, u64),
    /// A connection that was busy can take more.
    Written,
}

/// Accepts connections, reads frames from all of them in turn, and writes to each. An error of a
/// peer ends its connection, and is counted at the place.
pub struct FrameListener {
    bound: Bound,
    room: Arc<Room>,
    connections: Connections<Peer>,
    /// A frame came from somebody.
    heard: bool,
    /// What has ended since [`FrameListener::event`] last said so.
    closed: VecDeque<(ConnectionId, u64)>,
    /// A busy connection can take more since.
    written: bool,
    /// Bytes that are not written, over all connections, after the last attempt.
    unwritten: usize,
    /// While there is no room: when to look for a peer that has to go.
    look: Option<Pin<Box<Sleep>>>,
}

/// A connection, and what its peer has been doing.
struct Peer {
    connection: FrameConnection,
    share: Share,
    /// Until its first frame has come: when it may have to make room for others.
    silent_until: Option<Instant>,
    /// While too much is unwritten: what was written to it, and when there has to be more.
    stuck: Option<(u64, Instant)>,
}

impl Peer {
    fn new(socket: Socket, room: &Arc<Room>) -> Self {
        let (connection, patience) = (FrameConnection::new(socket), Instant::now() + PATIENCE);
        Self { connection, share: Share::of(room), silent_until: Some(patience), stuck: None }
    }

    /// Reads what there is. `free` bytes may be read without asking; a longer frame waits for
    /// room. `Ok(false)` when the peer has closed in order.
    fn poll_read(&mut self, free: usize, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        let (frame, here) = (self.connection.announced(), self.connection.unread());
        let long = frame > free;
        let limit = if long {
            ready!(self.share.poll_room(frame, cx));
            frame - here
        } else {
            free
        };
        match self.connection.poll_fill(limit, cx) {
            // A connection that breaks between two frames has ended, like one that was closed.
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(self.connection.end().map(|_| false)),
            Poll::Ready(Ok(read)) => {
                if long && read < limit {
                    self.share.came(read);
                } else {
                    self.share.release();
                }
                Poll::Ready(Ok(true))
            }
            Poll::Pending if long => self.share.poll_stalled(cx).map(Err),
            Poll::Pending => Poll::Pending,
        }
    }

    fn has_frame(&self) -> bool {
        let (frame, here) = (self.connection.announced(), self.connection.unread());
        frame > 0 && here >= frame
    }
}

impl FrameListener {
    /// A listener without connections.
    pub fn new(bound: Bound) -> Self {
        Self {
            bound,
            room: Room::new(),
            connections: Connections::default(),
            heard: false,
            closed: VecDeque::new(),
            written: false,
            unwritten: 0,
            look: None,
        }
    }

    /// The next frame of any connection. What was put is written while this waits.
    /// `None` when all connections have ended, and a frame had come over one; the call after that
    /// waits for others. Cancel-safe.
    pub async fn next(&mut self) -> Option<(ConnectionId, Bytes)> {
        self.closed.clear();
        let next = poll_fn(|cx| self.poll_next(cx)).await;
        self.heard &= next.is_some();
        next
    }

    /// As [`FrameListener::next`], and says which connections have ended; waits while
    /// there is none. Cancel-safe.
    pub async fn event(&mut self) -> FrameEvent {
        poll_fn(|cx| {
            loop {
                if let Some((id, written)) = self.closed.pop_front() {
                    return Poll::Ready(FrameEvent::Closed(id, written));
                }
                if std::mem::take(&mut self.written) {
                    return Poll::Ready(FrameEvent::Written);
                }
                match self.poll_next(cx) {
                    Poll::Ready(Some((id, frame))) => return Poll::Ready(FrameEvent::Frame(id, frame)),
                    _ if self.closed.is_empty() && !self.written => return Poll::Pending,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Closes the connection of a peer that has broken the protocol, and counts it.
    pub fn disconnect(&mut self, id: ConnectionId, why: impl Display) {
        if let Some(peer) = self.connections.remove(id) {
            self.bound.place().peer_disconnected(why);
            self.closed.push_back((id, peer.connection.written()));
        }
    }

    /// Whether somebody was here, and all have left.
    fn all_have_left(&self) -> bool {
        self.heard && self.connections.is_empty()
    }

    /// Accepts a frame for a connection; `false` if it has ended.
    pub fn put(&mut self, id: ConnectionId, parts: &[&[u8]]) -> Result<bool> {
        match self.connections.get_mut(id) {
            Some(peer) => peer.connection.put(parts).map(|()| true),
            None => Ok(false),
        }
    }

    /// Bytes accepted for a connection so far, written or not; `None` if it has ended.
    pub fn accepted(&self, id: ConnectionId) -> Option<u64> {
        self.connections.get(id).map(|peer| peer.connection.accepted())
    }

    /// Bytes accepted for a connection and not yet written.
    pub fn unwritten(&self, id: ConnectionId) -> usize {
        self.connections.get(id).map_or(0, |peer| peer.connection.unwritten())
    }

    /// Whether a connection has enough to write for now. [`FrameEvent::Written`] says when that
    /// has changed.
    pub fn is_busy(&self, id: ConnectionId) -> bool {
        self.unwritten(id) >= BUSY
    }

    /// Writes all that was put. Connections that break meanwhile are forgotten.
    pub async fn flush(&mut self) {
        poll_fn(|cx| if self.write_all(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Writes what can be written at once.
    pub async fn write(&mut self) {
        poll_fn(|cx| {
            self.write_all(cx);
            Poll::Ready(())
        })
        .await;
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ConnectionId, Bytes)>> {
        // Stay with one connection while it has whole frames: most calls end here.
        match self.buffered() {
            Some(next) => Poll::Ready(Some(next)),
            None => self.poll_others(cx),
        }
    }

    /// A frame that was read already from the connection whose turn it is.
    #[inline]
    fn buffered(&mut self) -> Option<(ConnectionId, Bytes)> {
        let (id, peer) = self.connections.current()?;
        match peer.connection.buffered() {
            Ok(frame) => frame.map(|frame| (id, frame)),
            Err(error) => {
                self.disconnect(id, error);
                None
            }
        }
    }

    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Option<(ConnectionId, Bytes)>> {
        loop {
            for _ in 0..self.connections.len() {
                self.connections.advance();
                if let Some(next) = self.buffered() {
                    return Poll::Ready(Some(next));
                }
            }
            let full = self.is_full();
            let mut progress = self.accept(cx) | self.read(cx);
            self.write_all(cx);
            // Those that were not read can be read now.
            progress |= full && !self.is_full();
            if self.all_have_left() {
                return Poll::Ready(None);
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        loop {
            while let Poll::Ready(socket) = self.bound.poll_accept(cx) {
                self.connections.insert(Peer::new(socket, &self.room));
                any = true;
            }
            if !self.bound.needs_room() || !self.give_up_the_silent(cx) {
                return any;
            }
        }
    }

    /// Disconnects the peer that has been here longest and never sent a frame; `false` if there is
    /// none yet.
    fn give_up_the_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let silent = |peer: &Peer| peer.silent_until.is_some_and(|until| until <= now);
        let longest = self.connections.iter_mut().find(|(_, peer)| silent(peer));
        match longest.map(|(id, _)| id) {
            Some(id) => {
                self.disconnect(id, format_args!("no frame within {PATIENCE:?}, and others wait to connect"));
                true
            }
            None => {
                self.look_later(cx);
                false
            }
        }
    }

    /// Wakes this task after a while, to look again.
    fn look_later(&mut self, cx: &mut Context<'_>) {
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if look.as_mut().poll(cx).is_ready() {
            self.look = None;
            cx.waker().wake_by_ref();
        }
    }

    /// Whether anything was read, or a connection has ended.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut any, mut ended) = (false, Vec::new());
        let free = free(self.connections.len());
        let full = self.is_full();
        for (id, peer) in self.connections.iter_mut() {
            if full && peer.connection.unwritten() > 0 {
                continue;
            }
            match peer.poll_read(free, cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(true)) => {
                    any = true;
                    if peer.silent_until.is_some() && peer.has_frame() {
                        (peer.silent_until, self.heard) = (None, true);
                    }
                }
                Poll::Ready(Ok(false)) => ended.push((id, None)),
                Poll::Ready(Err(error)) => ended.push((id, Some(error))),
            }
        }
        any |= !ended.is_empty();
        ended.into_iter().for_each(|(id, error)| self.ended(id, error));
        any
    }

    fn ended(&mut self, id: ConnectionId, error: Option<Error>) {
        match error {
            Some(error) => self.disconnect(id, error),
            None => {
                let gone = self.connections.remove(id);
                self.closed.extend(gone.map(|peer| (id, peer.connection.written())));
            }
        }
    }

    /// Whether too much is not written.
    fn is_full(&self) -> bool {
        self.unwritten > MAX_UNWRITTEN
    }

    /// Whether everything is written.
    fn write_all(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut unwritten, mut ended) = (0, Vec::new());
        for (id, peer) in self.connections.iter_mut() {
            let before = peer.connection.unwritten();
            match peer.connection.poll_flush(cx) {
                Poll::Pending => unwritten += peer.connection.unwritten(),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => ended.push((id, None)),
            }
            self.written |= before >= BUSY && peer.connection.unwritten() < BUSY;
        }
        self.unwritten = unwritten;
        if self.is_full() {
            self.find_the_stuck(&mut ended);
            self.look_later(cx);
        }
        ended.into_iter().for_each(|(id, error)| self.ended(id, error));
        unwritten == 0
    }

    /// Too much is unwritten: peers that have not read anything for long have to go.
    fn find_the_stuck(&mut self, ended: &mut Vec<(ConnectionId, Option<Error>)>) {
        let now = Instant::now();
        for (id, peer) in self.connections.iter_mut().filter(|(_, peer)| peer.connection.unwritten() > 0) {
            let written = peer.connection.written();
            match peer.stuck {
                Some((before, until)) if before == written => {
                    if until <= now {
                        let waiting = peer.connection.unwritten();
                        let error = anyhow::anyhow!(
                            "it has read nothing for {PATIENCE:?}, and {waiting} bytes wait for it"
                        );
                        ended.push((id, Some(error)));
                    }
                }
                _ => peer.stuck = Some((written, now + PATIENCE)),
            }
        }
    }
}

#[cfg(test)]
impl FrameListener {
    /// Connections that are open.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Bytes that were read and not handed out, and those that there is room for.
    pub(super) fn buffered_bytes(&mut self) -> usize {
        let unread: usize = self.connections.iter_mut().map(|(_, peer)| peer.connection.unread()).sum();
        unread.max(self.room.given())
    }

    /// Gives up peers that keep others waiting sooner or later.
    pub(super) fn have_patience(&mut self, patience: std::time::Duration) {
        self.room = Room::with_patience(patience);
    }
}

/// What each of so many connections may send in advance.
fn free(connections: usize) -> usize {
    (SHORT_FRAMES / connections.max(1)).min(READ)
}
