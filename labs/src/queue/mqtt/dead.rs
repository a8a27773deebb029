//! The dead letters of a queue over MQTT: a retained message for each, at `PLACE/dead/ID`, with the
//! number of its attempts and the reason in user properties. The broker keeps it until an empty
//! retained message takes its place.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::layout::publication;
use crate::lab::Place;
use crate::queue::{DeadLetter, DeadLetters};
use crate::wire::mqtt::packet::{Publish, PublishProperties};
use crate::wire::mqtt::{MqttClient, MqttConnection, Publication, QoS, topic};

const ATTEMPTS: &str = "attempts";
const REASON: &str = "reason";

/// The topic of a dead letter.
fn dead(place: &Place, id: &str) -> String {
    topic(place, &format!("dead/{id}"))
}

/// Puts a body aside; returns when the broker has it. The same id again changes nothing.
pub(super) async fn put_aside(
    place: &Place,
    client: &MqttClient,
    id: &str,
    body: Bytes,
    (attempts, reason): (u32, &str),
) -> Result<()> {
    let properties = PublishProperties {
        user_properties: vec![
            (ATTEMPTS.to_owned(), attempts.to_string()),
            (REASON.to_owned(), reason.to_owned()),
        ],
        ..PublishProperties::default()
    };
    let (topic, qos) = (dead(place, id), QoS::AtLeastOnce);
    let letter = Publication { topic, qos, retain: true, body, properties: Some(properties) };
    client.publish(letter).await.context("cannot put the message aside")?;
    client.flush().await
}

/// Takes a dead letter away.
async fn clear(place: &Place, client: &MqttClient, id: &str) -> Result<()> {
    let (topic, qos) = (dead(place, id), QoS::AtLeastOnce);
    client.publish(Publication { topic, qos, retain: true, ..Publication::default() }).await?;
    client.flush().await
}

/// Takes all of them away.
pub(super) async fn clear_all(place: &Place) -> Result<()> {
    let letters = RetainedLetters::open(place, QoS::AtLeastOnce);
    let mut connection = MqttConnection::connect(place).await?;
    for letter in letters.read(&mut connection, "+").await? {
        clear(place, &connection.client, &letter.id).await?;
    }
    connection.disconnect().await
}

/// Dead letters in retained messages. They have no order but that of their ids, which are those of
/// the consumers and their count.
pub struct RetainedLetters {
    place: Place,
    qos: QoS,
}

impl RetainedLetters {
    /// Those of a place, whose queue has this quality of service.
    pub(in crate::queue) fn open(place: &Place, qos: QoS) -> Self {
        Self { place: place.clone(), qos }
    }

    /// Those whose topics match, over a connection that has no subscription.
    async fn read(&self, connection: &mut MqttConnection, filter: &str) -> Result<Vec<DeadLetter>> {
        let topics = dead(&self.place, filter);
        let found = connection.retained(&topics).await?;
        // Or what is cleared afterwards would come in as well.
        connection.client.unsubscribe(&topics).await?;
        let mut letters: Vec<DeadLetter> = found.iter().filter_map(|message| self.letter(message)).collect();
        letters.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(letters)
    }

    /// One of them, over the same connection: an id is one level of a topic.
    async fn find(&self, connection: &mut MqttConnection, id: &str) -> Result<Option<DeadLetter>> {
        if id.is_empty() || id.contains(['/', '+', '#', '\0']) {
            return Ok(None);
        }
        Ok(self.read(connection, id).await?.pop())
    }

    fn letter(&self, message: &Publish) -> Option<DeadLetter> {
        let id = message.topic.strip_prefix(dead(&self.place, "").as_bytes())?;
        let id = std::str::from_utf8(id).ok()?.to_owned();
        let properties = message.properties.as_ref().map(|properties| &properties.user_properties[..]);
        let property = |name| {
            let mut properties = properties.unwrap_or_default().iter();
            properties.find(|(key, _)| key == name).map(|(_, value)| value.clone())
        };
        let attempts = property(ATTEMPTS).and_then(|count| count.parse().ok()).unwrap_or_default();
        let reason = property(REASON).unwrap_or_default();
        Some(DeadLetter { id, body: message.payload.clone(), attempts, reason })
    }
}

impl DeadLetters for RetainedLetters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        let mut connection = MqttConnection::connect(&self.place).await?;
        let mut letters = self.read(&mut connection, "+").await?;
        connection.disconnect().await?;
        letters.truncate(most);
        Ok(letters)
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        let mut connection = MqttConnection::connect(&self.place).await?;
        let found = self.find(&mut connection, id).await?;
        if let Some(letter) = &found {
            let message = publication(&self.place, self.qos, letter.body.clone(), 1);
            connection.client.publish_confirmed(message).await.context("cannot return it")?;
            clear(&self.place, &connection.client, id).await?;
        }
        connection.disconnect().await?;
        Ok(found.is_some())
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        let mut connection = MqttConnection::connect(&self.place).await?;
        let found = self.find(&mut connection, id).await?;
        if found.is_some() {
            clear(&self.place, &connection.client, id).await?;
        }
        connection.disconnect().await?;
        Ok(found.is_some())
    }
}
