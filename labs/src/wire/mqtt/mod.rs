//! What the MQTT labs share: a client that tells what became of a message. The labs themselves
//! connect, subscribe, publish and acknowledge with it.
//!
//! The client library, `rumqttc`, passes requests on to its event loop and tells nothing more.
//! What became of a message is read off the loop's events: when it is written, the loop names
//! its packet identifier; when the broker confirms it, that identifier comes again.
//!
//! - [`MqttConnection`] connects as [`ConnectSettings`] say. `rumqttc` would resume it and could not
//!   say what was lost: when it is lost, every call returns an error, and [`crate::recovery`] makes
//!   a new one. A session continues there.
//! - [`MqttClient`] sends packets: PUBLISH, SUBSCRIBE, UNSUBSCRIBE, acknowledgements.
//! - [`IncomingMessages`] are read no faster than they are taken, or dropped and counted.
//! - `event_loop` is the task that polls the client; `in_flight` has what was handed over and
//!   is not settled; `answer` reads the broker's reason codes.
//! - [`UnackedLimit`] counts what a reader holds unacknowledged.
//! - [`levels`]: the levels of a topic and of a filter, and the topic of a message.
//!
//! Promises: messages go out in the order in which they were accepted, at most 1,024 of them
//! and 4 MiB are in flight, and every wait ends when the connection is lost. Used by the labs
//! `*-mqtt` and `queue-mqtt-qos2`.
//!
//! The protocol: *MQTT Version 5.0* (OASIS); here, docs/transports/mqtt.md.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rumqttc::v5::mqttbytes::v5::{LastWill, Publish};
use rumqttc::v5::{AsyncClient, MqttOptions};
use tokio::sync::mpsc;

use crate::lab::Place;

mod answer;
mod client;
mod event_loop;
mod in_flight;
pub(crate) mod levels;
mod unacked;

use client::SharedConnection;
pub(crate) use client::{IncomingMessages, MqttClient, Publication};
use in_flight::{InFlight, MESSAGES};
pub(crate) use rumqttc::v5::mqttbytes::QoS;
pub(crate) use rumqttc::v5::mqttbytes::v5 as packet;
pub(crate) use unacked::UnackedLimit;

/// Messages that have come in and wait for the reader. While so many wait, the client is not
/// polled and reads no more: the rest waits at the broker.
const INCOMING: usize = 256;
/// The same where messages are acknowledged: there cannot be more than MQTT has packet
/// identifiers. So the channel is never full and the acknowledgements always go out; how many
/// messages the reader may hold, [`UnackedLimit`] says.
const IDENTIFIERS: usize = u16::MAX as usize;
/// The largest packet that the protocol has.
const LARGEST: u32 = 268_435_455;
/// The keep-alive of a client that stops reading while its channel is full, in seconds: it
/// cannot answer heartbeats then, and is to be cut off for that as late as possible.
const LONGEST_KEEP_ALIVE: u64 = 65_535;
/// The keep-alive of a client that always reads, in seconds: the broker notices after one and a
/// half of it that the link is silent, the client after two.
const KEEP_ALIVE: u64 = 5;
/// A session that never expires.
const NEVER: u32 = u32::MAX;

/// What a client says when it connects, and how it reads.
#[derive(Default)]
pub(crate) struct ConnectSettings {
    /// The client identifier of a session that outlives this connection, and is continued if
    /// there is one; none: a new session that ends with the connection.
    pub(crate) session: Option<String>,
    /// How many messages the broker may send that are not acknowledged.
    pub(crate) receive_maximum: Option<u16>,
    /// What the broker publishes when this client leaves without DISCONNECT.
    pub(crate) will: Option<LastWill>,
    /// Read on at any speed of the reader, and drop messages while so many wait; none: stop
    /// reading while [`INCOMING`] messages wait.
    pub(crate) high_water: Option<usize>,
}

/// A connection to the broker that is not resumed when it is lost.
pub(crate) struct MqttConnection {
    pub(crate) client: MqttClient,
    pub(crate) incoming: IncomingMessages,
    /// Whether the broker had the session already.
    pub(crate) resumed: bool,
}

impl MqttConnection {
    /// Connects with a session of its own that ends with the connection.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        Self::connect_with(place, ConnectSettings::default()).await
    }

    /// CONNECT; returns when the broker has agreed (CONNACK).
    pub(crate) async fn connect_with(place: &Place, settings: ConnectSettings) -> Result<Self> {
        let acknowledged = settings.receive_maximum.map(|_| IDENTIFIERS);
        let capacity = settings.high_water.or(acknowledged).unwrap_or(INCOMING).max(1);
        let drops = settings.high_water.is_some();
        let (client, mut events) = AsyncClient::new(options(place, settings)?, MESSAGES + 64);
        if !events.options.clean_start() {
            event_loop::expect_pubrel(&mut events);
        }
        let broker = place.broker()?;
        let connack = event_loop::connack(&mut events)
            .await
            .with_context(|| format!("cannot connect to the MQTT broker at {broker}"))?;
        let in_flight = Arc::new(InFlight::default());
        let (incoming, messages) = mpsc::channel(capacity);
        let event_loop = tokio::spawn(event_loop::run(events, Arc::clone(&in_flight), incoming, drops));
        let connection = Arc::new(SharedConnection { client, in_flight, event_loop });
        let incoming = IncomingMessages { messages, connection: Arc::clone(&connection) };
        Ok(Self { client: MqttClient(connection), incoming, resumed: connack.session_present })
    }

    /// The retained messages under `filter`: the broker sends them to whoever subscribes there,
    /// before it answers anything that is asked later.
    pub(crate) async fn retained(&mut self, filter: &str) -> Result<Vec<Publish>> {
        let (client, incoming, mut found) = (self.client.clone(), &mut self.incoming, Vec::new());
        let mut asking = std::pin::pin!(async {
            client.subscribe(filter, QoS::AtMostOnce).await?;
            client.round_trip().await
        });
        loop {
            tokio::select! {
                biased;
                message = incoming.next() => found.push(message?),
                asked = &mut asking => break asked?,
            }
        }
        while let Ok(message) = incoming.messages.try_recv() {
            found.push(message);
        }
        found.retain(|message| message.retain);
        Ok(found)
    }

    /// DISCONNECT, after a flush: the broker publishes no will.
    pub(crate) async fn disconnect(self) -> Result<()> {
        self.client.disconnect(self.incoming).await
    }
}

/// `PLACE/rest`: topics that do not begin with the place's name belong to others.
pub(crate) fn topic(place: &Place, rest: &str) -> String {
    format!("{}/{rest}", place.name())
}

/// Clears the retained messages under `PLACE/…`.
pub(crate) async fn clear_retained(place: &Place) -> Result<()> {
    let mut connection = MqttConnection::connect(place).await?;
    for message in connection.retained(&topic(place, "#")).await? {
        let topic = std::str::from_utf8(&message.topic).context("a topic that is not text")?.to_owned();
        // An empty retained message is how MQTT takes one away.
        let empty = Publication { topic, qos: QoS::AtLeastOnce, retain: true, ..Publication::default() };
        connection.client.publish(empty).await?;
    }
    connection.disconnect().await
}

/// Ends a session that outlives connections, with all that waits in it.
pub(crate) async fn end_session(place: &Place, session: &str) -> Result<()> {
    let settings = ConnectSettings { session: Some(session.to_owned()), ..ConnectSettings::default() };
    let mut options = options(place, settings)?;
    options.set_clean_start(true);
    options.set_session_expiry_interval(None);
    let (client, mut events) = AsyncClient::new(options, 1);
    let connected = event_loop::connack(&mut events).await;
    connected.with_context(|| format!("cannot end the session {session}"))?;
    client.disconnect().await.context("cannot disconnect")?;
    // The broker closes the connection when it has read that.
    while events.poll().await.is_ok() {}
    Ok(())
}

fn options(place: &Place, settings: ConnectSettings) -> Result<MqttOptions> {
    let endpoint = place.endpoint("mqtt")?;
    // Without a client identifier the broker makes one up. The client puts host and port together.
    let identifier = settings.session.clone().unwrap_or_default();
    let mut options = MqttOptions::new(identifier, endpoint.host_in_url(), endpoint.port);
    if let Some((user, password)) = endpoint.login {
        options.set_credentials(user, password);
    }
    let mut network = options.network_options();
    // Nagle's algorithm would hold back the small packets that follow one another.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_clean_start(settings.session.is_none());
    options.set_session_expiry_interval(settings.session.map(|_| NEVER));
    options.set_max_packet_size(Some(LARGEST));
    options.set_receive_maximum(settings.receive_maximum);
    options.set_manual_acks(true);
    // Twice what can be in flight: no identifier is used again while it is in use.
    options.set_outgoing_inflight_upper_limit(2 * MESSAGES as u16);
    let always_reads = settings.receive_maximum.is_some() || settings.high_water.is_some();
    let keep_alive = if always_reads { KEEP_ALIVE } else { LONGEST_KEEP_ALIVE };
    options.set_keep_alive(Duration::from_secs(keep_alive));
    if let Some(will) = settings.will {
        options.set_last_will(will);
    }
    Ok(options)
}
