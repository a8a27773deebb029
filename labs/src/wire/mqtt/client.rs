//! The two halves of a connection: the client, which publishes, subscribes and acknowledges,
//! and the messages that come in.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::in_flight::{Confirmation, ConfirmationSender, InFlight};
use crate::recovery::Disconnected;

/// What a PUBLISH packet is made of.
#[derive(Default)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) body: Bytes,
    pub(crate) properties: Option<PublishProperties>,
}

/// The sending half of a connection, which lives while somebody has a client of it.
#[derive(Clone)]
pub(crate) struct MqttClient(pub(super) Arc<SharedConnection>);

impl MqttClient {
    /// PUBLISH: accepts a message; waits while too many are in flight.
    pub(crate) async fn publish(&self, message: Publication) -> Result<()> {
        let room = self.0.in_flight.room(message.body.len()).await?;
        self.hand_over(message, room, None)
    }

    /// PUBLISH at QoS 1 or 2; returns when the broker has confirmed (PUBACK, PUBCOMP) and has a
    /// subscriber for it.
    pub(crate) async fn publish_confirmed(&self, message: Publication) -> Result<()> {
        self.publish_to_confirm(message).await?.wait().await
    }

    /// PUBLISH at QoS 1 or 2: accepts a message, whose confirmation can be awaited later. Messages
    /// are accepted in the order of the calls.
    pub(crate) async fn publish_to_confirm(&self, message: Publication) -> Result<Confirmation> {
        let _turn = self.0.in_flight.turn.lock().await;
        let room = self.0.in_flight.room(message.body.len()).await?;
        let (sender, confirmation) = ConfirmationSender::pair();
        self.hand_over(message, room, Some(sender))?;
        Ok(confirmation)
    }

    /// There is no await in here: messages are noted down in the order in which the event loop
    /// gets them, even when a caller is cancelled.
    fn hand_over(
        &self,
        message: Publication,
        room: usize,
        confirmation: Option<ConfirmationSender>,
    ) -> Result<()> {
        let Publication { topic, qos, retain, body, properties } = message;
        self.0.in_flight.accept(room, confirmation);
        let handed = match properties {
            Some(properties) => {
                self.0.client.try_publish_with_properties(topic, qos, retain, body, properties)
            }
            None => self.0.client.try_publish(topic, qos, retain, body),
        };
        handed.ok().context(Disconnected::new("the client does not take the message"))
    }

    /// PUBACK (at QoS 1) or PUBREC (at QoS 2): accepts the acknowledgement of a message.
    pub(crate) async fn ack(&self, message: &Publish) -> Result<()> {
        self.0.in_flight.room_for_ack().await?;
        self.0
            .client
            .try_ack(message)
            .ok()
            .context(Disconnected::new("the client does not take the acknowledgement"))
    }

    /// Returns when all that was accepted is written, and above QoS 0 confirmed.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.0.in_flight.settled().await
    }

    /// Returns when the broker has handled all that was handed over before, acknowledgements
    /// included: it serves a connection in order, and this is a request that it answers.
    pub(crate) async fn round_trip(&self) -> Result<()> {
        // The cheapest request with an answer: it ends a subscription that does not exist.
        self.unsubscribe("barrier").await
    }

    /// SUBSCRIBE; returns when the broker has agreed (SUBACK), so that it is in force.
    pub(crate) async fn subscribe(&self, filter: &str, qos: QoS) -> Result<()> {
        let (sender, confirmation) = ConfirmationSender::pair();
        self.0.in_flight.request(sender);
        let handed = self.0.client.try_subscribe(filter, qos);
        handed.ok().context(Disconnected::new("the client does not take a subscription"))?;
        confirmation.wait().await.with_context(|| format!("cannot subscribe to {filter}"))
    }

    /// UNSUBSCRIBE; returns when the broker has agreed (UNSUBACK).
    pub(crate) async fn unsubscribe(&self, filter: &str) -> Result<()> {
        let (sender, confirmation) = ConfirmationSender::pair();
        self.0.in_flight.request(sender);
        self.0
            .client
            .try_unsubscribe(filter)
            .ok()
            .context(Disconnected::new("the client does not take it"))?;
        confirmation.wait().await.with_context(|| format!("cannot end the subscription to {filter}"))
    }

    /// DISCONNECT, after a flush: the broker publishes no will. What still comes in is dropped.
    pub(super) async fn disconnect(self, mut incoming: IncomingMessages) -> Result<()> {
        self.flush().await?;
        self.0
            .client
            .try_disconnect()
            .ok()
            .context(Disconnected::new("the client does not take DISCONNECT"))?;
        while incoming.messages.recv().await.is_some() {}
        Ok(())
    }
}

/// The receiving half of a connection.
pub(crate) struct IncomingMessages {
    pub(super) messages: mpsc::Receiver<Publish>,
    pub(super) connection: Arc<SharedConnection>,
}

impl IncomingMessages {
    /// The next message; an error when the connection has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Publish> {
        match self.messages.recv().await {
            Some(message) => Ok(message),
            None => Err(self.connection.in_flight.why().context("lost the connection to the MQTT broker")),
        }
    }

    /// How many messages were dropped because too many waited here.
    pub(crate) fn dropped(&self) -> u64 {
        self.connection.in_flight.dropped_so_far()
    }
}

/// What both halves share: when the last of them is dropped, the connection breaks off without
/// DISCONNECT, and the broker publishes the will.
pub(super) struct SharedConnection {
    pub(super) client: AsyncClient,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) event_loop: JoinHandle<()>,
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        self.event_loop.abort();
    }
}
