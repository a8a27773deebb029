//! What a queue consists of at the broker: its topics, the sessions of its consumers, the list of
//! these sessions, and the form of a message.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::lab::Place;
use crate::wire::mqtt::packet::{LastWill, Publish, PublishProperties};
use crate::wire::mqtt::{self, ConnectSettings, MqttClient, MqttConnection, Publication, QoS};

/// In the list of sessions: a consumer is connected to the session.
pub(super) const HELD: &[u8] = b"held";
/// In the list of sessions: no consumer is connected, and another may take the session over.
pub(super) const FREE: &[u8] = b"free";
/// The user property with a message's attempt: the broker's duplicate flag cannot tell it, since
/// a message that is published again is a new one to the broker.
const ATTEMPT: &str = "attempt";

/// Where messages are published.
fn queue_topic(place: &Place) -> String {
    mqtt::topic(place, "queue")
}

/// What consumers subscribe to: each message goes to one of them.
pub(super) fn shared_filter(place: &Place) -> String {
    format!("$share/consumers/{}", queue_topic(place))
}

/// A message to be published, at its first attempt or a later one.
pub(super) fn publication(place: &Place, qos: QoS, body: Bytes, attempt: u32) -> Publication {
    let properties = (attempt > 1).then(|| PublishProperties {
        user_properties: vec![(ATTEMPT.to_owned(), attempt.to_string())],
        ..PublishProperties::default()
    });
    Publication { topic: queue_topic(place), qos, body, properties, retain: false }
}

/// Counts a message of which nobody can say which attempt it is.
pub(super) fn skip(place: &Place) {
    place.message_skipped(format_args!("the user property `{ATTEMPT}` is not a count"));
}

/// Which delivery of a message this is, as far as the broker and those who published it again
/// can tell. `None` where its user property is not a count: a publisher can set it to anything.
pub(super) fn attempt(message: &Publish) -> Option<u32> {
    let mut properties = message.properties.iter().flat_map(|properties| &properties.user_properties);
    let said = match properties.find(|(name, _)| name == ATTEMPT) {
        Some((_, number)) => number.parse().ok().filter(|attempt| *attempt > 0)?,
        None => 1_u32,
    };
    said.checked_add(u32::from(message.dup))
}

/// The client identifier of a session.
pub(super) fn session(place: &Place, id: &str) -> String {
    mqtt::topic(place, id)
}

/// The topic of a session's entry in the list, a retained message.
pub(super) fn entry(place: &Place, id: &str) -> String {
    mqtt::topic(place, &format!("sessions/{id}"))
}

/// Which session an entry of the list is about.
pub(super) fn id_of(place: &Place, entry_of: &Publish) -> Result<String> {
    let id = entry_of.topic.strip_prefix(entry(place, "").as_bytes()).context("an entry of another place")?;
    Ok(std::str::from_utf8(id).context("a session whose name is not text")?.to_owned())
}

/// Lists a session as held or free; an empty state removes its entry.
pub(super) async fn list(place: &Place, client: &MqttClient, id: &str, state: &'static [u8]) -> Result<()> {
    let (topic, body) = (entry(place, id), Bytes::from_static(state));
    let entry = Publication { topic, qos: QoS::AtLeastOnce, retain: true, body, properties: None };
    client.publish(entry).await?;
    client.flush().await
}

/// Connects to a session, to hold it: when the connection breaks off, the broker publishes the
/// will, which lists the session as free.
pub(super) async fn connect(place: &Place, id: &str, receive_maximum: u16) -> Result<MqttConnection> {
    let settings = ConnectSettings {
        session: Some(session(place, id)),
        receive_maximum: Some(receive_maximum),
        will: Some(LastWill::new(entry(place, id), FREE, QoS::AtLeastOnce, true, None)),
        high_water: None,
    };
    MqttConnection::connect_with(place, settings).await
}
