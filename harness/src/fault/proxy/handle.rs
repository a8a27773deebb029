//! A proxy and its controls.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::serve::serve;
use super::socket::{bind_tcp, bind_unix};
use super::state::{Counters, Direction, Faults, Traffic};

/// Where a proxy listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port of the loopback device.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A proxy that runs until it is dropped: then all its connections are reset, the file of its socket
/// is removed, and its thread has ended.
#[derive(Debug)]
pub struct Proxy {
    address: Address,
    faults: watch::Sender<Faults>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy on a free port of the loopback device, in front of a TCP address.
    ///
    /// # Errors
    /// When it cannot listen, or no thread can be started.
    pub fn tcp(upstream: SocketAddr) -> Result<Self> {
        let (listener, address) = bind_tcp(upstream)?;
        let runtime = runtime()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).context("cannot listen for a proxy")?
        };
        Self::start(Address::Tcp(address), runtime, move |faults, counters| {
            serve::<TcpStream>(listener, upstream, faults, counters)
        })
    }

    /// A proxy in front of a Unix socket. It listens beside it, in a file with `.link` after the name.
    ///
    /// # Errors
    /// As [`Self::tcp`]; and when the file exists.
    pub fn unix(upstream: &Path) -> Result<Self> {
        let (listener, path) = bind_unix(upstream)?;
        let upstream = upstream.to_owned();
        let runtime = runtime()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener).context("cannot listen for a proxy")?
        };
        Self::start(Address::Unix(path), runtime, move |faults, counters| {
            serve::<UnixStream>(listener, upstream, faults, counters)
        })
    }

    fn start<F: Future<Output = ()>>(
        address: Address,
        runtime: Runtime,
        serve: impl FnOnce(watch::Receiver<Faults>, Arc<Counters>) -> F + Send + 'static,
    ) -> Result<Self> {
        let (sender, faults) = watch::channel(Faults::default());
        let counters = Arc::new(Counters::default());
        let shared = counters.clone();
        let run = move || LocalSet::new().block_on(&runtime, serve(faults, shared));
        let name = match &address {
            Address::Tcp(address) => format!("proxy:{}", address.port()),
            Address::Unix(_) => "proxy:unix".to_owned(),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(run)
            .context("cannot start the thread of a proxy")?;
        Ok(Self { address, faults: sender, counters, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What it has forwarded.
    pub fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }

    /// Resets all connections. New ones are accepted at once.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Lets a few more bytes of each connection pass, then resets it: in the middle of a frame. A
    /// connection on which nothing moves is reset after 0.2 s.
    pub fn tear(&self) {
        self.faults.send_modify(|faults| faults.tears += 1);
    }

    /// Resets all connections, and new ones as they come; until it is called with `false`.
    pub fn refuse(&self, refuse: bool) {
        self.faults.send_modify(|faults| {
            faults.refuse = refuse;
            faults.cuts += u64::from(refuse);
        });
    }

    /// Writes everything this much later, in both directions: an answer takes twice as long. At most
    /// [`super::QUEUE`] bytes wait for that in each direction of a connection.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Lets this many bytes a second pass in each direction, all connections together.
    pub fn throttle(&self, bytes_per_s: NonZeroU64) {
        self.counters.free();
        self.faults.send_modify(|faults| faults.throttle = Some(bytes_per_s));
    }

    /// Holds what comes in one direction, on new connections, too.
    pub fn blackhole(&self, direction: Direction) {
        self.faults.send_modify(|faults| faults.hole = Some(direction));
    }

    /// Ends all faults. What was held goes on.
    pub fn heal(&self) {
        self.counters.free();
        self.faults.send_modify(|faults| {
            *faults = Faults { cuts: faults.cuts, tears: faults.tears, ..Faults::default() };
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.send_modify(|faults| faults.closed = true);
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed, and there is nothing to be done about it here.
            let _ = thread.join();
        }
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime of a proxy")
}
