//! Durable subscribers over MQTT 5: every durable subscriber has a *session*, named after it, that
//! outlives its connections.
//!
//! Wire: publishers publish at QoS 1, and the broker keeps an event in the session of every
//! subscription that matches, until the subscriber acknowledges it (PUBACK). Plain subscribers
//! subscribe at QoS 0, as in `pubsub/mqtt.rs`. MQTT has no nack: an event is handed out again from
//! this client's memory, while the broker waits for its acknowledgement as before.
//!
//! Confirms: an event when it is in the session of every subscription that matches (PUBACK),
//! whether the subscriber is there or not; `flush` waits for all of them.
//!
//! Survives: kill -9 of a subscriber: started again, it comes back to its session and gets what it had not
//! acknowledged, flagged as a duplicate, then what it missed, in order. An absence of any length,
//! if the broker sets no limit (the private one does not): all that a subscriber misses stays in
//! the broker's memory until it is forgotten. A cut connection loses nothing: the recovery layer
//! (`labs/src/recovery/`) connects and joins again, and what was not flushed or not acked is sent
//! again, and may come twice. After a restart of the broker the roles join again, too.
//!
//! Loses: with kill -9 of Mosquitto, what it had confirmed and not yet saved, new sessions
//! included: it saves only from time to time (the private one every second, by default every half
//! hour). On a broker of your own, events for an absent subscriber beyond `max_queued_messages` (by
//! default 1,000). Events that were not confirmed when the publisher died. A session that is never
//! forgotten stays, also after `remove`, and collects events.
//!
//! Run it: `just lab durable-mqtt`. Watch it: `mosquitto_sub -t 'PLACE/#' -v`.

use std::collections::VecDeque;

use anyhow::Result;
use bytes::Bytes;

use crate::durable::DurablePubSub;
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::pubsub::mqtt::{HIGH_WATER, Mqtt as Topics, RETAIN, TopicSubscriber};
use crate::pubsub::{Event, PubSub, Publisher};
use crate::queue::{Consumer, Delivery};
use crate::topic::{Filter, FilterKind, Topic};
use crate::wire::mqtt::levels::{LevelsReader, filter_levels, topic_levels};
use crate::wire::mqtt::packet::Publish;
use crate::wire::mqtt::{self, ConnectSettings, MqttConnection, Publication, QoS, UnackedLimit};

const PREFETCH: Knob =
    Knob::new("prefetch", 256, "Deliveries a subscriber may hold unsettled (MQTT's receive maximum).");

/// Topics below one that is named after the place, and a session for every
/// durable subscriber.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    /// `RETAIN` and `HIGH_WATER` are knobs of `pubsub/mqtt.rs`; `HIGH_WATER` is that of plain
    /// subscribers.
    const KNOBS: &'static [Knob] = &[PREFETCH, RETAIN, HIGH_WATER];

    /// A topic need not be created; this only finds out that the broker is there.
    async fn open(place: &Place) -> Result<Self> {
        MqttConnection::connect(place).await?.disconnect().await?;
        Ok(Self { place: place.clone() })
    }

    /// Removes retained events. A session stays until it is forgotten: MQTT cannot list sessions,
    /// and these do not expire.
    async fn remove(place: &Place) -> Result<()> {
        Topics::remove(place).await
    }
}

impl PubSub for Mqtt {
    const FILTERS: &'static [FilterKind] = Topics::FILTERS;
    type Publisher = ConfirmedPublisher;
    type Subscriber = TopicSubscriber;

    async fn publisher(&self) -> Result<ConfirmedPublisher> {
        let retain = self.place.knob(RETAIN) > 0;
        let connection = MqttConnection::connect(&self.place).await?;
        Ok(ConfirmedPublisher { connection, place: self.place.clone(), retain })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<TopicSubscriber> {
        TopicSubscriber::join(&self.place, filter).await
    }
}

/// Publishes at QoS 1, with many events on their way to be confirmed.
pub struct ConfirmedPublisher {
    connection: MqttConnection,
    place: Place,
    retain: bool,
}

impl Publisher for ConfirmedPublisher {
    /// Accepted: the client's own task writes it, and the confirmation is not awaited here.
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        let (topic, qos, retain) = (topic_levels(&self.place, topic), QoS::AtLeastOnce, self.retain);
        self.connection.client.publish(Publication { topic, qos, retain, body, properties: None }).await
    }

    /// First a round trip: the broker has sent all events to plain subscribers, whose QoS 0 has no
    /// confirmations. Then the confirmation of each event (PUBACK).
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await?;
        self.connection.client.flush().await
    }

    async fn close(self) -> Result<()> {
        self.connection.disconnect().await
    }
}

impl DurablePubSub for Mqtt {
    type Durable = SessionSubscriber;

    async fn durable(&self, id: &str, filter: &Filter) -> Result<SessionSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let prefetch = u16::try_from(self.place.knob(PREFETCH)).unwrap_or(u16::MAX).max(1);
        let settings = ConnectSettings {
            session: Some(mqtt::topic(&self.place, id)),
            receive_maximum: Some(prefetch),
            ..ConnectSettings::default()
        };
        let connection = MqttConnection::connect_with(&self.place, settings).await?;
        // A continued session has its subscription. To subscribe again would do no harm, but the
        // broker would send retained events again.
        if !connection.resumed {
            connection.client.subscribe(&filter_levels(&self.place, filter), QoS::AtLeastOnce).await?;
        }
        Ok(SessionSubscriber {
            connection,
            unacked: UnackedLimit::new(prefetch),
            events: LevelsReader::new(&self.place),
            nacked: VecDeque::new(),
            skipped: None,
        })
    }

    async fn forget(&self, id: &str) -> Result<()> {
        mqtt::end_session(&self.place, &mqtt::topic(&self.place, id)).await
    }
}

/// Takes the events that are in its session.
pub struct SessionSubscriber {
    connection: MqttConnection,
    unacked: UnackedLimit,
    events: LevelsReader,
    /// Nacked events, to be handed out again.
    nacked: VecDeque<UnackedEvent>,
    /// A message that is not an event. It is acknowledged before the next one is read, so that it
    /// does not come again.
    skipped: Option<Publish>,
}

/// A delivery that is not settled, and which attempt it was.
pub struct UnackedEvent(Publish, u32);

impl Consumer for SessionSubscriber {
    type Item = Event;
    type Receipt = UnackedEvent;

    async fn next(&mut self) -> Result<Option<Delivery<Event, UnackedEvent>>> {
        loop {
            if let Some(message) = &self.skipped {
                self.connection.client.ack(message).await?;
                self.skipped = None;
            }
            self.unacked.room().await;
            let (message, attempt) = match self.nacked.pop_front() {
                Some(UnackedEvent(message, before)) => (message, before + 1),
                None => {
                    let message = self.connection.incoming.next().await?;
                    let attempt = 1 + u32::from(message.dup);
                    (message, attempt)
                }
            };
            if let Some(item) = self.events.read(&message) {
                self.unacked.add();
                return Ok(Some(Delivery { item, attempt, receipt: UnackedEvent(message, attempt) }));
            }
            self.skipped = Some(message);
        }
    }

    async fn ack(&mut self, UnackedEvent(message, _): UnackedEvent) -> Result<()> {
        self.unacked.remove();
        self.connection.client.ack(&message).await
    }

    /// The broker is told nothing.
    async fn nack(&mut self, receipt: UnackedEvent) -> Result<()> {
        self.unacked.remove();
        self.nacked.push_back(receipt);
        Ok(())
    }

    /// A round trip behind the acks: the broker has them.
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.connection.disconnect().await
    }
}
