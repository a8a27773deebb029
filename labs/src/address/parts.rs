//! The parts that every address has: `SCHEME://USER:PASSWORD@HOST:PORT/PATH?NAME=VALUE#NAME=VALUE`.
//!
//! No error quotes more than the scheme or the name of a parameter: in an address that cannot be
//! read, anything else may be a password.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::login::Login;
use super::percent::decode;

/// Longest address, bytes.
const LONGEST: usize = 4096;
/// Schemes without TLS; with an `s` behind them they ask for it.
const PLAIN: [&str; 9] = ["amqp", "http", "mqtt", "nats", "redis", "stomp", "tcp", "valkey", "ws"];

/// An address that was split. Everything but the path is decoded.
pub(super) struct Parts {
    pub(super) login: Option<Login>,
    /// Without the brackets of an IPv6 address; empty where the address names none.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// What follows the slash behind the host; `None` without a slash.
    pub(super) path: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) fragment: Vec<(String, String)>,
}

/// The scheme of an address, in lower case.
pub(super) fn scheme(text: &str) -> Result<String> {
    let (scheme, _) = text.split_once("://").context("it has no scheme, as in `redis://`")?;
    let word = |c: u8| c.is_ascii_alphanumeric() || b"+-.".contains(&c);
    ensure!(
        !scheme.is_empty() && scheme.len() <= 20 && scheme.bytes().all(word),
        "it does not begin with a scheme, as in `redis://`"
    );
    Ok(scheme.to_ascii_lowercase())
}

/// Whether a scheme asks for TLS: `amqps`, `ssl`, `nats+tls`, `stomp+ssl`.
pub(super) fn asks_for_tls(scheme: &str) -> bool {
    scheme.split(['+', '-', '.']).any(|word| {
        matches!(word, "tls" | "ssl") || word.strip_suffix('s').is_some_and(|plain| PLAIN.contains(&plain))
    })
}

impl Parts {
    pub(super) fn of(text: &str) -> Result<Self> {
        ensure!(text.len() <= LONGEST, "it is longer than {LONGEST} bytes");
        ensure!(
            !text.chars().any(|c| c.is_control() || c.is_whitespace()),
            "it has blanks or control characters; write them percent-encoded, as in `%20`"
        );
        let scheme = scheme(text)?;
        let rest = &text[scheme.len() + "://".len()..];
        let (rest, fragment) = split(rest, '#');
        let (rest, query) = split(rest, '?');
        let (authority, path) = split(rest, '/');
        let at_sign_behind = [path, fragment].into_iter().flatten().any(|part| part.contains('@'));
        let at_sign_in_query = !authority.is_empty() && query.is_some_and(|query| query.contains('@'));
        ensure!(
            !at_sign_behind && !at_sign_in_query,
            "an `@` follows the host; in a login, `/`, `?` and `#` are written %2F, %3F and %23, and behind \
             the host `@` is written %40"
        );
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(self::login(login)?), host),
            None => (None, authority),
        };
        let (host, port) = host_and_port(host)?;
        Ok(Self {
            login,
            host,
            port,
            path: path.map(str::to_owned),
            query: pairs(query.unwrap_or_default())?,
            fragment: pairs(fragment.unwrap_or_default())?,
        })
    }

    /// The number of a port in the fragment, `stomp=61613`.
    pub(super) fn port_of(value: &str) -> Result<u16> {
        let number = value.parse().ok().filter(|port| *port > 0);
        number.context("a port is a number from 1 to 65535")
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn login(text: &str) -> Result<Login> {
    let (user, password) = split(text, ':');
    let decoded = |part| decode(part).map_err(|why| anyhow!("the login cannot be read: {why}"));
    Ok(Login::new(decoded(user)?, password.map(decoded).transpose()?))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').context("the `[` before an IPv6 address has no `]`")?;
            ensure!(host.parse::<Ipv6Addr>().is_ok(), "what is in brackets is not an IPv6 address");
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':').context("only a port can follow `]`")?)),
            }
        }
        None => {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            ensure!(!host.contains(':'), "an IPv6 address is written in brackets, as in `[::1]:5672`");
            let word = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
            ensure!(
                host.len() <= 255 && host.bytes().all(word),
                "the host has characters that no host's name has; one broker is named by one host"
            );
            (host, port)
        }
    };
    let number = match port {
        None | Some("") => None,
        Some(port) => Some(Parts::port_of(port)?),
    };
    Ok((host.to_ascii_lowercase(), number))
}

fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |part| decode(part).map_err(|why| anyhow!("a parameter cannot be read: {why}"));
        anyhow::Ok((decoded(name)?, decoded(value)?))
    };
    let pairs = text.split('&').filter(|text| !text.is_empty()).map(pair).collect::<Result<Vec<_>>>()?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(before, _)| before == name) {
            bail!("the parameter `{name}` is given twice");
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_that_ask_for_tls_are_known() {
        for scheme in [
            "amqps",
            "rediss",
            "valkeys",
            "mqtts",
            "ssl",
            "tls",
            "stomp+ssl",
            "stomps",
            "wss",
            "nats+tls",
            "tls+tcp",
        ] {
            assert!(asks_for_tls(scheme), "{scheme}");
        }
        for scheme in ["amqp", "redis", "redis+unix", "valkey", "mqtt", "tcp", "stomp", "nats", "ws", "unix"]
        {
            assert!(!asks_for_tls(scheme), "{scheme}");
        }
    }

    #[test]
    fn hosts_and_ports_are_split() {
        for (text, host, port) in [
            ("host", "host", None),
            ("HOST:7", "host", Some(7)),
            ("host:", "host", None),
            ("10.0.0.1:7", "10.0.0.1", Some(7)),
            ("[::1]", "::1", None),
            ("[2001:DB8::1]:5672", "2001:db8::1", Some(5672)),
            ("", "", None),
        ] {
            assert_eq!(host_and_port(text).expect(text), (host.to_owned(), port), "{text}");
        }
        for text in [
            "host:x",
            "host:0",
            "host:65536",
            "::1",
            "::1:5672",
            "[::1",
            "[::1]7",
            "[host]:7",
            "[::1%25lo]:7",
            "a,b:1",
        ] {
            assert!(host_and_port(text).is_err(), "{text}");
        }
    }
}
