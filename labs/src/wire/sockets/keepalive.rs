//! TCP keepalive: how a side that only waits notices that the link is silent.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// A connection on which nothing came for so long is probed by the kernel.
const IDLE: Duration = Duration::from_secs(3);
/// Between two probes.
const BETWEEN: Duration = Duration::from_secs(1);
/// Unanswered probes after which the connection is lost: 5 s after the last sign of life.
const PROBES: u32 = 2;

/// Has the kernel probe an idle connection. It costs nothing while messages come. A socket that
/// cannot do it works without.
pub(crate) fn keep_alive(socket: &impl AsFd) {
    let set = || {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, IDLE)?;
        sockopt::set_tcp_keepintvl(socket, BETWEEN)?;
        sockopt::set_tcp_keepcnt(socket, PROBES)
    };
    let _ = set();
}
