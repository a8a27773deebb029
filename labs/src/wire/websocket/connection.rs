//! One WebSocket connection.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::stream::MeteredStream;
use super::{SCHEME, check, limits};
use crate::wire::sockets::{Room, Share, Socket};

/// With more than this to write, a connection is not read, bytes.
const MAX_UNWRITTEN: usize = 1 << 20;

/// What can happen while one waits on a connection.
pub enum WsEvent {
    /// All that was put is written.
    Written,
    /// A message came, text or binary.
    Message(Bytes),
    /// The peer has closed the connection.
    Closed,
}

/// One connection, read and written by turns.
pub struct WsConnection {
    stream: WebSocketStream<MeteredStream>,
    /// Bytes that were put since everything was written.
    unwritten: usize,
}

impl WsConnection {
    /// Connects to a peer that has announced itself: live when this returns.
    pub async fn connect(address: &str) -> Result<Self> {
        let url = if address.contains("://") { address.to_owned() } else { format!("{SCHEME}{address}") };
        let stream = MeteredStream::new(Socket::connect(&url).await?, None)?;
        let upgraded = client_async_with_config(&url, stream, Some(limits())).await;
        let (stream, _) = upgraded.with_context(|| format!("{url} does not speak WebSocket"))?;
        Ok(Self { stream, unwritten: 0 })
    }

    /// The other side of [`WsConnection::connect`]; `None` for a peer that leaves before it has sent
    /// anything. A long message waits until there is `room` for it.
    pub async fn accept(socket: Socket, room: &Arc<Room>) -> Result<Option<Self>> {
        let stream = MeteredStream::new(socket, Some(Share::of(room)))?;
        if stream.is_closed().await {
            return Ok(None);
        }
        let stream = accept_async_with_config(stream, Some(limits())).await?;
        Ok(Some(Self { stream, unwritten: 0 }))
    }

    /// Accepts a message without waiting. Flush before there are too many.
    pub fn put(&mut self, message: Message) -> Result<()> {
        check(&message)?;
        self.unwritten += message.len().max(1);
        self.stream.start_send_unpin(message).context("the connection broke while writing")
    }

    /// Bytes that the kernel has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.stream.get_ref().written()
    }

    /// Waits until there is room for another message in the output.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream.poll_ready_unpin(cx).map(|room| room.context("the peer has left"))
    }

    /// Whether everything that was put is written.
    pub fn is_flushed(&self) -> bool {
        self.unwritten == 0
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next message, text or binary; `None` after the peer has closed. What
    /// was put is written while this waits. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`WsConnection::next`], and returns as well when all that was put is written.
    pub async fn event(&mut self) -> Result<WsEvent> {
        poll_fn(|cx| {
            if !self.is_flushed() && self.poll_flush(cx)?.is_ready() {
                return Poll::Ready(Ok(WsEvent::Written));
            }
            self.poll_read(cx).map_ok(|message| message.map_or(WsEvent::Closed, WsEvent::Message))
        })
        .await
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.stream.poll_flush_unpin(cx)).context("the connection broke while writing")?;
        self.unwritten = 0;
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        // A peer that does not read what it asked for is not asked for more.
        if self.unwritten > MAX_UNWRITTEN {
            ready!(self.poll_flush(cx))?;
        }
        let read = self.poll_read(cx);
        if read.is_pending() && !self.is_flushed() {
            // Whether that is done or not, there is nothing to read yet.
            let _ = self.poll_flush(cx)?;
        }
        read
    }

    /// Reads without writing anything but answers to pings and to a close.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            return Poll::Ready(match ready!(self.stream.poll_next_unpin(cx)) {
                // A message in fragments is whole here.
                Some(Ok(message @ (Message::Binary(_) | Message::Text(_)))) => {
                    self.stream.get_mut().message_came();
                    Ok(Some(message.into_data()))
                }
                // The crate answers pings and closes when it is asked to read on.
                Some(Ok(_)) => continue,
                // The crate does not say whether that was in the middle of a message.
                None | Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Ok(None),
                Some(Err(Error::Io(error))) if error.kind() != ErrorKind::TimedOut => Ok(None),
                Some(Err(error)) => Err(error).context("the connection broke while reading"),
            });
        }
    }
}
