//! A plain socket to Redis: TCP, or a Unix socket on the same machine.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::lab::BrokerAddress;
use crate::wire::sockets::keep_alive;

/// A connection to Redis, without a client library.
pub(crate) enum RedisSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl RedisSocket {
    pub(super) async fn connect(address: &BrokerAddress) -> Result<Self> {
        let about = || format!("cannot connect to Redis at {address}");
        if let Some(path) = address.unix() {
            return Ok(Self::Unix(UnixStream::connect(path).await.with_context(about)?));
        }
        let endpoint = address.endpoint("redis")?;
        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.with_context(about)?;
        socket.set_nodelay(true)?;
        keep_alive(&socket);
        Ok(Self::Tcp(socket))
    }
}

/// Calls a method of whichever socket it is.
macro_rules! either {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($socket) => $call,
            Self::Unix($socket) => $call,
        }
    };
}

impl AsyncRead for RedisSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, socket => Pin::new(socket).poll_read(cx, to))
    }
}

impl AsyncWrite for RedisSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut TaskContext<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, socket => Pin::new(socket).poll_write(cx, from))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        either!(self, socket => Pin::new(socket).poll_shutdown(cx))
    }
}
