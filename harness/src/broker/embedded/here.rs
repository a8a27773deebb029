//! The process that hosts the embedded broker: how it is started, and what it does.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use labs::lab::BrokerAddress;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{COMMAND, IN_FLIGHT, LOG, MAX_PAYLOAD, SEGMENTS};
use crate::broker::ports;
use crate::broker::private::{Plan, Private, Start};
use crate::broker::private_options::{Options, folder};
use crate::{hint, process};

/// How long a client may take for its first packet.
const PATIENCE: Duration = Duration::from_secs(10);

pub(in crate::broker) fn launch(options: &Options<'_>) -> Result<Private> {
    let dir = folder("embedded-mqtt", options)?;
    let port = ports::free()?;
    let mut args = vec![COMMAND.to_owned(), "--port".to_owned(), port.to_string()];
    for behind in [ports::free()?, ports::free()?] {
        args.extend(["--behind".to_owned(), behind.to_string()]);
    }
    let program = process::this_program();
    let plan = Plan {
        address: BrokerAddress::parse(labs::lab::Broker::Mqtt, &format!("mqtt://127.0.0.1:{port}"))?,
        programs: vec![Start { log: LOG, program, args, env: Vec::new(), listens: None }],
        patience: Duration::from_secs(20),
        interval: Duration::from_millis(5),
        advice: format!("install Mosquitto with `{}`", hint::command(&["doctor", "--install"])),
    };
    Private::start(dir, plan)
}

/// Hosts the broker at a port of 127.0.0.1, until the process is killed.
/// `rumqttd` speaks MQTT 3.1.1 and MQTT 5 at one port each, `behind`; clients
/// expect one port, and their first packet contains the version.
pub fn host(port: u16, behind: [u16; 2]) -> Result<()> {
    let taken = |port: u16| format!("cannot listen on 127.0.0.1:{port}");
    let front = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| taken(port))?;
    for port in behind {
        // The broker would only log that it is taken.
        drop(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| taken(port))?);
    }
    let mut broker = Broker::new(config(behind));
    let serve = move || {
        if let Err(error) = broker.start() {
            errln!("the broker did not start: {error}");
        }
    };
    std::thread::Builder::new().name("broker".to_owned()).spawn(serve).context("cannot start a thread")?;
    front.set_nonblocking(true).context("cannot use the port")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(async move {
        for port in behind {
            until_open(port).await?;
        }
        let front = TcpListener::from_std(front).context("cannot use the port")?;
        loop {
            let (client, _) = front.accept().await.context("cannot accept a client")?;
            tokio::spawn(async move {
                // A client that leaves is not an error of the broker's.
                let _ = forward(client, behind).await;
            });
        }
    })
}

fn config([v4, v5]: [u16; 2]) -> Config {
    let (max_segment_size, max_segment_count) = SEGMENTS;
    let server = |name: &str, port: u16| {
        let connections = ConnectionSettings {
            connection_timeout_ms: 10_000,
            max_payload_size: MAX_PAYLOAD,
            max_inflight_count: IN_FLIGHT,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (name, tls) = (name.to_owned(), None);
        let settings = ServerSettings { name, listen, tls, next_connection_delay_ms: 0, connections };
        Some(HashMap::from([(settings.name.clone(), settings)]))
    };
    let router = RouterConfig {
        max_connections: 1000,
        max_outgoing_packet_count: 200,
        max_segment_size,
        max_segment_count,
        ..RouterConfig::default()
    };
    Config { router, v4: server("v4", v4), v5: server("v5", v5), ..Config::default() }
}

async fn until_open(port: u16) -> Result<()> {
    for _ in 0..1000 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the broker does not listen on 127.0.0.1:{port}")
}

/// Hands a client to the port that speaks its version of the protocol.
async fn forward(mut client: TcpStream, [v4, v5]: [u16; 2]) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut first = Vec::new();
    let level = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(level) = level(&first) {
                return io::Result::Ok(level);
            }
            if first.len() > 16 || client.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    });
    let port = if level.await?? < 5 { v4 } else { v5 };
    let mut broker = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    broker.set_nodelay(true)?;
    broker.write_all(&first).await?;
    tokio::io::copy_bidirectional(&mut client, &mut broker).await?;
    Ok(())
}

/// The protocol's level in a CONNECT packet: it follows the packet's type, its length (one to
/// four bytes) and the protocol's name.
fn level(packet: &[u8]) -> Option<u8> {
    let length = 1 + packet.iter().skip(1).take(3).take_while(|byte| **byte >= 0x80).count();
    packet.get(1 + length + 6).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_found_behind_any_length() {
        let name = b"\x00\x04MQTT\x05";
        for length in [&b"\x0c"[..], b"\xd8\x01", b"\x80\x80\x80\x01"] {
            let packet = [b"\x10", length, name].concat();
            assert_eq!(level(&packet), Some(5), "{length:x?}");
            assert_eq!(level(&packet[..packet.len() - 1]), None, "{length:x?}, cut");
        }
    }
}
