//! The address of a role's own host, where it is to bind at that one.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};

use anyhow::{Context as _, Result};

use super::protocol::HOST;

/// The addresses to bind, by namespace, with this host's own address in the place of [`HOST`].
///
/// # Errors
/// When the name of this host stands for no address that others reach; it is named.
pub(super) fn resolved(bind: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    bind.iter().map(|(namespace, address)| Ok((namespace.clone(), with_own(address, own)?))).collect()
}

/// `host:0` as `10.0.0.2:0`; every other address as it is.
fn with_own(address: &str, own: impl FnOnce() -> Result<IpAddr>) -> Result<String> {
    match address.split_once(':') {
        Some((HOST, port)) => Ok(match own()? {
            IpAddr::V4(own) => format!("{own}:{port}"),
            IpAddr::V6(own) => format!("[{own}]:{port}"),
        }),
        _ => Ok(address.to_owned()),
    }
}

fn own() -> Result<IpAddr> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A name that cannot be looked up stands for no address.
    let found = (name.as_str(), 0_u16).to_socket_addrs().into_iter().flatten();
    reachable(found.map(|address| address.ip())).with_context(|| {
        format!(
            "`--listen {HOST}`: the name of this host, `{name}`, stands for no address that others reach; give \
             an IP address instead"
        )
    })
}

/// The first address that others reach.
fn reachable(mut addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    let own_link = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    addresses.find(|address| !address.is_loopback() && !address.is_unspecified() && !own_link(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_for_the_host_is_replaced() {
        for (address, own, expected) in [
            ("host:0", "10.0.0.2", "10.0.0.2:0"),
            ("host:0", "fd00::2", "[fd00::2]:0"),
            ("10.0.0.9:0", "10.0.0.2", "10.0.0.9:0"),
            ("[fd00::9]:0", "10.0.0.2", "[fd00::9]:0"),
            ("hosts:0", "10.0.0.2", "hosts:0"),
        ] {
            let own = || Ok(own.parse().expect("an address"));
            assert_eq!(with_own(address, own).expect("an address"), expected, "{address}");
        }
        assert!(with_own("host:0", || anyhow::bail!("none")).is_err());
    }

    #[test]
    fn an_address_that_nobody_else_reaches_is_passed_over() {
        for (addresses, expected) in [
            (&["127.0.1.1", "10.0.0.2", "10.0.0.3"][..], Some("10.0.0.2")),
            (&["::1", "0.0.0.0", "fd00::2"], Some("fd00::2")),
            (&["fe80::1", "169.254.0.1", "fd00::3"], Some("fd00::3")),
            (&["127.0.0.1"], None),
            (&[], None),
        ] {
            let addresses = addresses.iter().map(|text| text.parse().expect("an address"));
            let expected: Option<IpAddr> = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(reachable(addresses), expected);
        }
    }
}
