//! The proxies of a run: one in front of each port of the broker, or of each address that a peer
//! has bound.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use labs::lab::BrokerAddress;

use super::proxy::{Address, Proxy};

/// All proxies of a run. They begin as they are needed, and end with the last copy of this.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<BTreeMap<String, Proxy>>>);

impl Links {
    fn proxies(&self) -> MutexGuard<'_, BTreeMap<String, Proxy>> {
        // A map that is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker behind proxies.
    ///
    /// # Errors
    /// When a proxy cannot listen.
    pub(crate) fn broker(&self, address: &BrokerAddress) -> Result<BrokerAddress> {
        address.behind(
            |upstream| {
                let through = self.through(upstream)?;
                let (_, port) = through.rsplit_once(':').context("a proxy without a port")?;
                port.parse().context("a proxy without a port")
            },
            |path| {
                let through = self.through(&format!("{UNIX}{}", path.display()))?;
                Ok(through.strip_prefix(UNIX).unwrap_or(&through).into())
            },
        )
    }

    /// The address of the proxy in front of `upstream`: `HOST:PORT`, with a scheme or without, or
    /// `unix:PATH`. The same upstream has the same proxy.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) fn through(&self, upstream: &str) -> Result<String> {
        let mut proxies = self.proxies();
        let (scheme, bare) = match upstream.split_once("://") {
            Some((scheme, bare)) => (format!("{scheme}://"), bare),
            None => (String::new(), upstream),
        };
        let proxy = match proxies.entry(bare.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(match bare.strip_prefix(UNIX) {
                Some(path) => Proxy::unix(path.as_ref())?,
                None => Proxy::tcp(resolved(bare)?)?,
            }),
        };
        Ok(match proxy.address() {
            Address::Tcp(address) => format!("{scheme}{address}"),
            Address::Unix(path) => format!("{UNIX}{}", path.display()),
        })
    }

    /// Does something to all links.
    pub(crate) fn all(&self, act: impl Fn(&Proxy)) {
        self.proxies().values().for_each(act);
    }
}

/// How the address of a Unix socket begins.
const UNIX: &str = "unix:";

/// A name such as `localhost` may have several addresses; the first will do.
fn resolved(name: &str) -> Result<SocketAddr> {
    let mut addresses = name.to_socket_addrs().with_context(|| format!("cannot resolve {name}"))?;
    addresses.next().with_context(|| format!("{name} has no address"))
}
