use super::EndpointError;
use crate::ZmqError;

use std::convert::TryFrom;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Represents a host address. Does not include the port, and may be either an
/// ip address or a domain name
#[derive(Debug, Clone, Hash, PartialEq, Eq)]
pub enum Host {
    /// An IPv4 address
    Ipv4(Ipv4Addr),
    /// An Ipv6 address
    Ipv6(Ipv6Addr),
    /// A domain name, such as `example.com` in `tcp://example.com:4567`.
    Domain(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> std::result::Result<(), std::fmt::Error> {
        match self {
            Host::Ipv4(addr) => write!(f, "{}", addr),
            Host::Ipv6(addr) => write!(f, "{}", addr),
            Host::Domain(name) => write!(f, "{}", name),
        }
    }
}

impl TryFrom<Host> for IpAddr {
    type Error = ZmqError;

    fn try_from(h: Host) -> Result<Self, Self::Error> {
        match h {
            Host::Ipv4(a) => Ok(IpAddr::V4(a)),
            Host::Ipv6(a) => Ok(IpAddr::V6(a)),
            Host::Domain(_) => Err(ZmqError::Other("Host was neither Ipv4 nor Ipv6")),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(a: IpAddr) -> Self {
        match a {
            IpAddr::V4(a) => Host::Ipv4(a),
            IpAddr::V6(a) => Host::Ipv6(a),
        }
    }
}

impl TryFrom<String> for Host {
    type Error = EndpointError;

    /// An Ipv6 address must be enclosed by `[` and `]`.
    fn try_from(s: String) -> Result<Self, Self::Error> {
        if s.is_empty() {
            return Err(EndpointError::Syntax("Host string should not be empty"));
        }
        if let Ok(addr) = s.parse::<Ipv4Addr>() {
            return Ok(Host::Ipv4(addr));
        }

        // Attempt to parse ipv6 from either ::1 or [::1] using ascii
        let ipv6_substr =
            if s.starts_with('[') && s.len() >= 4 && *s.as_bytes().last().unwrap() == b']' {
                let substr = &s[1..s.len() - 1];
                debug_assert_eq!(substr.len(), s.len() - 2);
                substr
            } else {
                &s
            };
        if let Ok(addr) = ipv6_substr.parse::<Ipv6Addr>() {
            return Ok(Host::Ipv6(addr));
        }

        Ok(Host::Domain(s))
    }
}

impl FromStr for Host {
    type Err = EndpointError;

    /// Equivalent to [`TryFrom<String>`]
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let s = s.to_string();
        Self::try_from(s)
    }
}
