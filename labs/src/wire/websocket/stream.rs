//! The stream below a WebSocket connection: TCP, and a bound on what is buffered of a message that
//! is not complete.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::MAX_MESSAGE;
use crate::wire::sockets::{Share, Slot, Socket};

/// What the crate reads at once; more than this without a whole message is a long message, bytes.
const SHORT_MESSAGE: usize = 128 << 10;

/// A TCP connection that reads no more of a long message than there is room for.
pub(super) struct MeteredStream {
    stream: TcpStream,
    /// Bytes that were read since the last message was complete.
    unfinished: usize,
    /// Bytes that the kernel has taken so far.
    written: u64,
    /// At the side that binds.
    share: Option<Share>,
    _slot: Option<Slot>,
}

impl MeteredStream {
    pub(super) fn new(socket: Socket, share: Option<Share>) -> Result<Self> {
        let (stream, _slot) = socket.into_tcp()?;
        Ok(Self { stream, unfinished: 0, written: 0, share, _slot })
    }

    /// Waits until the peer has sent something, or closed the connection without.
    pub(super) async fn is_closed(&self) -> bool {
        matches!(self.stream.peek(&mut [0]).await, Ok(0) | Err(_))
    }

    /// Bytes that the kernel has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// A message is complete.
    pub(super) fn message_came(&mut self) {
        if self.unfinished > SHORT_MESSAGE
            && let Some(share) = &mut self.share
        {
            share.release();
        }
        self.unfinished = 0;
    }
}

impl AsyncRead for MeteredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.unfinished <= SHORT_MESSAGE {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            this.unfinished += buffer.filled().len() - before;
            return Poll::Ready(Ok(()));
        }
        // How long the message is, only the crate knows.
        if let Some(share) = &mut this.share {
            ready!(share.poll_room(MAX_MESSAGE, cx));
        }
        match (Pin::new(&mut this.stream).poll_read(cx, buffer), &mut this.share) {
            (Poll::Pending, Some(share)) => share
                .poll_stalled(cx)
                .map(|error| Err(io::Error::new(ErrorKind::TimedOut, error.to_string()))),
            (read, share) => {
                let came = buffer.filled().len() - before;
                this.unfinished += came;
                if let Some(share) = share {
                    share.came(came);
                }
                read
            }
        }
    }
}

impl AsyncWrite for MeteredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
