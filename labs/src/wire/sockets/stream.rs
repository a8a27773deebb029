//! A connection as the libraries of protocols want it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Slot;

/// A TCP connection that has been accepted, for libraries that read and write it themselves. It has
/// its slot until they drop it.
pub(crate) struct PeerStream {
    pub(super) stream: TcpStream,
    pub(super) _slot: Option<Slot>,
}

#[cfg(feature = "zeromq")]
impl PeerStream {
    /// The connection itself.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Waits until the peer has sent something, or closed the connection without.
    pub(crate) async fn is_closed(&self) -> bool {
        matches!(self.stream.peek(&mut [0]).await, Ok(0) | Err(_))
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
