//! Free ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Where ports are sought when the kernel does not say which it gives to clients.
const DEFAULT_FIRST: u16 = 32768;
const LOWEST: u16 = 10_000;

/// A port nobody listens on now, below those the kernel gives to outgoing
/// connections: while a broker is down for a restart, no client's connection may
/// take its port, nor connect to itself there.
pub fn free() -> Result<u16> {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|&first| first > LOWEST + 1000)
        .unwrap_or(DEFAULT_FIRST);
    let mut rng = SmallRng::seed_from_u64(super::private_options::random()? as u64);
    for _ in 0..1000 {
        let port = rng.random_range(LOWEST..first);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .context("there is no free port on 127.0.0.1; `ss -tln` shows the ports in use")
}
