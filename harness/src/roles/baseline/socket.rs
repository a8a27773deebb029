//! Plain blocking sockets, for the baselines.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use labs::lab::Place;
use labs::place::session_folder;
use labs::printable::printable_bytes;

/// No peer or broker takes so long over one read or write.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer to a question is so long, bytes.
const MOST: usize = 1 << 20;

pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to `host:port`, or to `unix:/path`.
    pub(super) fn connect(address: &str) -> Result<Self> {
        let socket = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Self::Unix),
            None => TcpStream::connect(address).map(Self::Tcp),
        };
        let socket = socket.with_context(|| format!("cannot connect to {address}"))?;
        socket.prepared()
    }

    /// Connects to the broker's endpoint of a protocol; also who to say one is.
    pub(super) fn to_broker(place: &Place, protocol: &str) -> Result<(Self, (String, String))> {
        let endpoint = place.endpoint(protocol)?;
        Ok((Self::connect(&endpoint.to_string())?, endpoint.login.unwrap_or_default()))
    }

    fn prepared(self) -> Result<Self> {
        match &self {
            Self::Tcp(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_write_timeout(Some(PATIENCE))?;
                tcp.set_read_timeout(Some(PATIENCE))?;
            }
            Self::Unix(unix) => {
                unix.set_write_timeout(Some(PATIENCE))?;
                unix.set_read_timeout(Some(PATIENCE))?;
            }
        }
        Ok(self)
    }

    /// How long a read waits from now on.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.set_read_timeout(Some(patience)),
            Self::Unix(unix) => unix.set_read_timeout(Some(patience)),
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(tcp) => tcp.try_clone().map(Self::Tcp),
            Self::Unix(unix) => unix.try_clone().map(Self::Unix),
        }
    }

    /// Says something and reads until `enough` is content with all that came.
    pub(super) fn ask(&mut self, question: &[u8], enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        self.write_all(question).context("the other side closed the connection")?;
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        while !enough(&answer) {
            let read = self.read(&mut part).context("the other side does not answer")?;
            if read == 0 {
                bail!("the other side closed the connection after `{}`", printable_bytes(&answer));
            }
            answer.extend_from_slice(&part[..read]);
            ensure!(answer.len() <= MOST, "the other side answers with more than {MOST} bytes");
        }
        Ok(answer)
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(into),
            Self::Unix(unix) => unix.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(from),
            Self::Unix(unix) => unix.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How the receiving side is reached.
pub(super) enum Source {
    /// It has connected to a broker, which will send.
    Open(Socket),
    /// It has to say this again after each reply in the Redis protocol.
    Asking(Socket, Vec<u8>),
    /// Waits for the sender, and does the handshake of its protocol.
    Listening(Listener, fn(&mut Socket) -> Result<()>),
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// On a free port of 127.0.0.1, announced.
    pub(super) fn tcp(place: &Place) -> Result<Self> {
        let listener = TcpListener::bind(place.bind_address()).context("cannot listen")?;
        place.announce(listener.local_addr()?);
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    /// On a path that nobody else has, announced.
    pub(super) fn unix(place: &Place) -> Result<Self> {
        let path = session_folder().join(format!("{}-{}.baseline", place.name(), std::process::id()));
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot bind {}", path.display()))?;
        place.announce(format!("unix:{}", path.display()));
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(listener, path))
    }

    /// The next connection, if there is one.
    pub(super) fn accept(&self) -> Result<Option<Socket>> {
        let accepted = match self {
            Self::Tcp(listener) => listener.accept().map(|(tcp, _)| Socket::Tcp(tcp)),
            Self::Unix(listener, _) => listener.accept().map(|(unix, _)| Socket::Unix(unix)),
        };
        match accepted {
            Ok(socket) => {
                match &socket {
                    Socket::Tcp(tcp) => tcp.set_nonblocking(false)?,
                    Socket::Unix(unix) => unix.set_nonblocking(false)?,
                }
                socket.prepared().map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot accept a connection"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // It is one of the few things of this process that outlive it.
            let _ = std::fs::remove_file(path);
        }
    }
}
