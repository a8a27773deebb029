//! Addresses of the user's own brokers: parse and check them, and show them without
//! secrets.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Result, ensure};
use labs::lab::{Broker, Endpoint, Place};

use super::source::Source;

/// How long a port that should be open is knocked at.
const KNOCK: Duration = Duration::from_secs(3);

/// Protocols that RabbitMQ speaks through plugins: the transport's name in the
/// catalog and in an address, the usual port.
const PLUGINS: [(&str, u16); 2] = [("stomp", 61613), ("mqtt", 1883)];

/// An address fit to be shown.
pub fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Host, port and login of `SCHEME://USER:PASSWORD@HOST:PORT`.
pub(super) fn endpoint(url: &str, scheme: &str, usual_port: u16) -> Result<Endpoint> {
    let shown = without_password(url);
    ensure!(
        url.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")),
        "{shown} is not {scheme}://HOST:PORT; TLS and other protocols are not supported"
    );
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once('@').map_or(authority, |(_, host)| host).rsplit_once(':');
    // The colons of an IPv6 address are in brackets.
    let port = match port.filter(|(_, port)| !port.ends_with(']')) {
        Some((_, port)) => port.parse().map_err(|_| anyhow::anyhow!("`{port}` in {shown} is not a port"))?,
        None => usual_port,
    };
    named(url, scheme, port)
}

/// The endpoint of another protocol at the same broker.
fn named(url: &str, protocol: &str, usual_port: u16) -> Result<Endpoint> {
    let mut endpoint = Place::new("endpoint", Some(url)).endpoint(protocol, usual_port)?;
    endpoint.host = endpoint.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(endpoint)
}

/// What is missing in the user's own broker for labs over this transport, and what to do about
/// it. RabbitMQ speaks STOMP and MQTT only where its plugins are on.
pub(super) fn lacks(broker: Broker, source: &Source, transport: &str) -> Option<String> {
    let Source::Url(url) = source else { return None };
    let (protocol, usual) = PLUGINS.into_iter().find(|(name, _)| *name == transport)?;
    if broker != Broker::RabbitMq {
        return None;
    }
    let endpoint = match named(url, protocol, usual) {
        Ok(endpoint) => endpoint,
        Err(error) => return Some(format!("{error:#}")),
    };
    (!open(&endpoint)).then(|| {
        format!(
            "nothing listens on port {} of RabbitMQ's host {}: switch the plugin on there with \
             `rabbitmq-plugins enable rabbitmq_{protocol}`, or name its port with --url \
             rabbitmq={}#{protocol}=PORT",
            endpoint.port,
            endpoint.host,
            without_password(url.split('#').next().unwrap_or(url)),
        )
    })
}

/// The endpoints of RabbitMQ's plugins, and whether they are open.
#[cfg(feature = "rabbitmq")]
pub(super) fn plugins(url: &str) -> impl Iterator<Item = (&'static str, u16, bool)> {
    PLUGINS.into_iter().filter_map(move |(protocol, usual)| {
        let endpoint = named(url, protocol, usual).ok()?;
        Some((protocol, endpoint.port, open(&endpoint)))
    })
}

fn open(endpoint: &Endpoint) -> bool {
    let addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().into_iter().flatten();
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, KNOCK).is_ok())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn errors_show_no_password() {
        for (url, expected) in [
            ("amqp://me:se@cret@host:5672/%2f", "amqp://…@host:5672/%2f"),
            ("nats://token@host", "nats://…@host"),
            ("amqp://host", "amqp://host"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (url, host, port, who) in [
            ("mqtt://host", "host", 1883, None),
            ("mqtt://host:7/", "host", 7, None),
            ("mqtt://me:se@cret@host", "host", 1883, login("me", "se@cret")),
            ("mqtt://me:secret@host:7", "host", 7, login("me", "secret")),
            ("mqtt://token@[::1]:7", "::1", 7, login("token", "")),
            ("mqtt://[::1]", "::1", 1883, None),
        ] {
            let endpoint = endpoint(url, "mqtt", 1883).expect(url);
            assert_eq!(endpoint, Endpoint { host: host.to_owned(), port, login: who }, "{url}");
        }
        for (url, said) in [
            ("mqtts://me:secret@host", "mqtts://…@host is not mqtt://HOST:PORT"),
            ("mqtt://host:x", "`x` in mqtt://host:x is not a port"),
            ("mqtt://me:secret@host:99999", "`99999` in mqtt://…@host:99999 is not a port"),
        ] {
            let error = format!("{:#}", endpoint(url, "mqtt", 1883).expect_err(url));
            assert!(error.contains(said) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn a_plugin_that_is_off_is_named() {
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let open = here.local_addr().expect("an address").port();
        let url = |port: u16| Source::Url(format!("amqp://me:secret@127.0.0.1#stomp={port}"));
        assert_eq!(lacks(Broker::RabbitMq, &url(open), "stomp"), None);
        assert_eq!(lacks(Broker::RabbitMq, &url(open), "rabbitmq"), None, "no plugin is needed");
        drop(here);
        let said = lacks(Broker::RabbitMq, &url(open), "stomp").expect("it is closed");
        for part in [&open.to_string()[..], "enable rabbitmq_stomp", "amqp://…@127.0.0.1#stomp=PORT"] {
            assert!(said.contains(part) && !said.contains("secret"), "{said}");
        }
        assert_eq!(lacks(Broker::Mqtt, &url(open), "mqtt"), None, "an MQTT broker needs none");
    }
}
