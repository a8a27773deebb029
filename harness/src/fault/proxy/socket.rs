//! TCP and Unix sockets, as far as the proxy tells them apart.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A kind of socket.
pub(super) trait Socket: Sized + 'static {
    type Listener: 'static;
    /// The address behind the proxy.
    type Address: 'static;

    async fn accept(listener: &Self::Listener) -> io::Result<Self>;
    async fn connect(address: &Self::Address) -> io::Result<Self>;
    fn split(&mut self) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin);
    /// Closes it at once: what was not written is dropped, and the peer gets an error where the kind
    /// of socket has one for that.
    fn reset(self);
}

impl Socket for TcpStream {
    type Listener = TcpListener;
    type Address = SocketAddr;

    async fn accept(listener: &TcpListener) -> io::Result<Self> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect(address: &SocketAddr) -> io::Result<Self> {
        let stream = Self::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn split(&mut self) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
        TcpStream::split(self)
    }

    fn reset(self) {
        // With no time to linger, closing sends RST. If that cannot be set, it is closed without.
        let _ = self.set_zero_linger();
    }
}

impl Socket for UnixStream {
    type Listener = UnixListener;
    type Address = PathBuf;

    async fn accept(listener: &UnixListener) -> io::Result<Self> {
        Ok(listener.accept().await?.0)
    }

    async fn connect(address: &PathBuf) -> io::Result<Self> {
        Self::connect(address).await
    }

    fn split(&mut self) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
        UnixStream::split(self)
    }

    fn reset(self) {}
}

/// A free port of the loopback device, of the family of the address behind the proxy.
pub(super) fn bind_tcp(upstream: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr)> {
    let local: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let bind = || -> io::Result<_> {
        let listener = std::net::TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().with_context(|| format!("cannot listen on {local} for a proxy of {upstream}"))
}

/// A socket beside the one behind the proxy.
pub(super) fn bind_unix(upstream: &Path) -> Result<(std::os::unix::net::UnixListener, PathBuf)> {
    let mut path = upstream.as_os_str().to_owned();
    path.push(".link");
    let path = PathBuf::from(path);
    let bind = || -> io::Result<_> {
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = bind().with_context(|| format!("cannot listen on {} for a proxy", path.display()))?;
    Ok((listener, path))
}
