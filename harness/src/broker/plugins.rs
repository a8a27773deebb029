//! The plugins of the user's own RabbitMQ: whether they are on, and how to switch them on.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use labs::lab::{Broker, BrokerAddress, Endpoint};

use super::source::Source;

/// How long a port that should be open is knocked at.
const KNOCK: Duration = Duration::from_secs(3);

/// Protocols that RabbitMQ speaks through plugins: the transport's name in the
/// catalog and in an address.
const PLUGINS: [&str; 2] = ["stomp", "mqtt"];

/// What is missing in the user's own broker for labs over this transport, and what to do about
/// it. RabbitMQ speaks STOMP and MQTT only where its plugins are on.
pub(super) fn lacks(broker: Broker, source: &Source, transport: &str) -> Option<String> {
    let Source::Url(address) = source else { return None };
    let protocol = PLUGINS.into_iter().find(|name| *name == transport)?;
    if broker != Broker::RabbitMq {
        return None;
    }
    let endpoint = match address.endpoint(protocol) {
        Ok(endpoint) => endpoint,
        Err(error) => return Some(format!("{error:#}")),
    };
    let shown = address.to_string();
    (!open(&endpoint)).then(|| {
        format!(
            "nothing listens on port {} of RabbitMQ's host {}: switch the plugin on there with \
             `rabbitmq-plugins enable rabbitmq_{protocol}`, or name its port with --url \
             rabbitmq={}#{protocol}=PORT",
            endpoint.port,
            endpoint.host,
            shown.split('#').next().unwrap_or(&shown),
        )
    })
}

/// The endpoints of RabbitMQ's plugins, and whether they are open.
pub(super) fn plugins(address: &BrokerAddress) -> impl Iterator<Item = (&'static str, u16, bool)> {
    PLUGINS.into_iter().filter_map(move |protocol| {
        let endpoint = address.endpoint(protocol).ok()?;
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
    fn a_plugin_that_is_off_is_named() {
        let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let open = here.local_addr().expect("an address").port();
        let url = |port: u16| {
            let text = format!("amqp://me:secret@127.0.0.1#stomp={port}");
            Source::Url(BrokerAddress::parse(Broker::RabbitMq, &text).expect("an address"))
        };
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
