//! A queue over MQTT 5 at QoS 1, built from shared subscriptions and sessions. The topics, and the
//! form of a message, are in `layout.rs`.
//!
//! Wire: producers publish to `PLACE/queue`, and consumers share a subscription to it
//! (`$share/consumers/PLACE/queue`), each with a *session* that outlives its connections. The
//! broker puts each message into one session, sends a consumer at most its *receive maximum* of
//! unacknowledged messages, and deletes a message when the consumer acknowledges it (PUBACK). MQTT
//! has no nack: the consumer publishes the message again, with its attempt in a user property, and
//! then acknowledges it. A message that has failed `max-attempts` times becomes a retained one at
//! `PLACE/dead/ID` instead (`dead.rs`).
//!
//! Confirms: a message when the broker has put it into a session (PUBACK), whether its consumer is
//! there or not. Without any session, the broker drops the message and says so, which is an error.
//!
//! Survives: kill -9 of a consumer, at once: the broker gives what is in its session to no other,
//! so another consumer takes the session over, and publishes again what is in it (`sessions.rs`). A
//! cut connection loses nothing: the recovery layer (`labs/src/recovery/`) connects and joins
//! again, and what was not confirmed or not acked is sent again, and may come twice. After a
//! restart of the broker the roles join again, too.
//!
//! Loses: with kill -9 of Mosquitto, what it had confirmed and not yet saved, because it confirms
//! at once and saves only from time to time; messages that were not confirmed when the producer
//! died.
//!
//! Run it: `just lab queue-mqtt`. Watch it: `mosquitto_sub -V 5 -t 'PLACE/sessions/#' -v`.

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::lab::{Broker, BrokerFeature, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::queue::{AttemptLimit, Consumer, Delivery, MAX_ATTEMPTS, NACKED, Producer, Queue, UNSETTLED};
use crate::wire::mqtt::packet::Publish;
use crate::wire::mqtt::{MqttConnection, QoS, UnackedLimit};

mod dead;
mod layout;
pub(super) mod sessions;

pub use dead::RetainedLetters;
use dead::put_aside;
use layout::{FREE, attempt, connect, publication, shared_filter, skip};
use sessions::SessionWatch;

/// A topic, and a session for each consumer.
pub struct Mqtt {
    place: Place,
}

impl Lab for Mqtt {
    const TRANSPORT: &'static str = "mqtt";
    const BROKER: Option<Broker> = Some(Broker::Mqtt);
    const BROKER_FEATURES: &'static [BrokerFeature] = &[BrokerFeature::SharedSubscriptions];
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[MAX_ATTEMPTS];

    /// Makes sure that there is a session for what is published before a consumer is there.
    async fn open(place: &Place) -> Result<Self> {
        sessions::create_store(place, QoS::AtLeastOnce).await?;
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        sessions::remove(place).await
    }
}

impl Queue for Mqtt {
    type Producer = TopicProducer;
    type Consumer = SessionConsumer;
    type DeadLetters = RetainedLetters;

    async fn producer(&self) -> Result<TopicProducer> {
        TopicProducer::connect(&self.place, QoS::AtLeastOnce).await
    }

    async fn consumer(&self, prefetch: u16) -> Result<SessionConsumer> {
        SessionConsumer::join(&self.place, prefetch, QoS::AtLeastOnce).await
    }

    async fn dead_letters(&self) -> Result<RetainedLetters> {
        Ok(RetainedLetters::open(&self.place, QoS::AtLeastOnce))
    }
}

/// Publishes to the queue's topic, and waits for the confirmation of each message.
pub struct TopicProducer {
    connection: MqttConnection,
    place: Place,
    qos: QoS,
}

impl TopicProducer {
    pub(super) async fn connect(place: &Place, qos: QoS) -> Result<Self> {
        Ok(Self { connection: MqttConnection::connect(place).await?, place: place.clone(), qos })
    }
}

impl Producer for TopicProducer {
    /// Confirmed: the broker has put the message into a session. If there is no session, MQTT
    /// drops the message and says so; here that is an error.
    async fn send(&self, body: Bytes) -> Result<()> {
        let message = publication(&self.place, self.qos, body, 1);
        self.connection.client.publish_confirmed(message).await.context("the message is not confirmed")
    }

    async fn close(self) -> Result<()> {
        self.connection.disconnect().await
    }
}

/// Takes the messages that the broker puts into its session; a receipt is the message itself.
pub struct SessionConsumer {
    connection: MqttConnection,
    unacked: UnackedLimit,
    place: Place,
    qos: QoS,
    /// A message that cannot be handed out. It is acknowledged before the next one is read, so that
    /// it does not come again.
    skipped: Option<Publish>,
    /// A message that has failed too often, and how often. It is put aside and acknowledged before the
    /// next one is read.
    dead: Option<(Publish, u32)>,
    /// How many were put aside: the next one's number.
    buried: u64,
    limit: AttemptLimit,
    /// The session's name.
    id: String,
    watch: SessionWatch,
    /// Closed in order: the session is listed as free.
    closed: bool,
}

impl SessionConsumer {
    pub(super) async fn join(place: &Place, prefetch: u16, qos: QoS) -> Result<Self> {
        let (id, prefetch) = (sessions::new_id(), prefetch.max(1));
        let connection = connect(place, &id, prefetch).await?;
        let mut takeover = sessions::Takeover::join(place, &id, qos).await?;
        connection.client.subscribe(&shared_filter(place), qos).await?;
        takeover.free_abandoned().await?;
        // Only now: the messages of a session that is taken over go to the shared subscription.
        takeover.take_over_free().await?;
        let (limit, place, unacked) = (AttemptLimit::of(place), place.clone(), UnackedLimit::new(prefetch));
        Ok(Self {
            connection,
            unacked,
            place,
            qos,
            skipped: None,
            dead: None,
            buried: 0,
            limit,
            id,
            watch: takeover.watch(),
            closed: false,
        })
    }
}

impl SessionConsumer {
    /// Puts aside what has failed too often. Cancel-safe: what is not finished is done again, under
    /// the same id.
    async fn bury(&mut self) -> Result<()> {
        let Some((message, failed)) = &self.dead else { return Ok(()) };
        let (client, id) = (&self.connection.client, format!("{}-{:06}", self.id, self.buried));
        put_aside(&self.place, client, &id, message.payload.clone(), (*failed, UNSETTLED)).await?;
        client.ack(message).await?;
        self.buried += 1;
        self.dead = None;
        Ok(())
    }
}

impl Drop for SessionConsumer {
    /// The will frees the session, unless the broker has died and could not publish it.
    fn drop(&mut self) {
        if !self.closed {
            sessions::abandon(&self.place, std::mem::take(&mut self.id));
        }
    }
}

/// A delivery that is not settled, and which attempt it was.
pub struct UnackedMessage(Publish, u32);

impl Consumer for SessionConsumer {
    type Item = Bytes;
    type Receipt = UnackedMessage;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, UnackedMessage>>> {
        loop {
            if let Some(message) = &self.skipped {
                self.connection.client.ack(message).await?;
                self.skipped = None;
            }
            self.bury().await?;
            self.unacked.room().await;
            let message = tokio::select! {
                biased;
                message = self.connection.incoming.next() => message?,
                failed = self.watch.failed() => return Err(failed),
            };
            if let Some(attempt) = attempt(&message) {
                if self.limit.is_reached(attempt - 1) {
                    self.dead = Some((message, attempt - 1));
                    continue;
                }
                self.unacked.add();
                let item = message.payload.clone();
                return Ok(Some(Delivery { item, attempt, receipt: UnackedMessage(message, attempt) }));
            }
            skip(&self.place);
            self.skipped = Some(message);
        }
    }

    async fn ack(&mut self, UnackedMessage(message, _): UnackedMessage) -> Result<()> {
        self.unacked.remove();
        self.connection.client.ack(&message).await
    }

    /// Published again, then acknowledged: a crash in between doubles it.
    async fn nack(&mut self, UnackedMessage(message, attempt): UnackedMessage) -> Result<()> {
        let (client, body) = (&self.connection.client, message.payload.clone());
        if self.limit.is_reached(attempt) {
            let id = format!("{}-{:06}", self.id, self.buried);
            self.buried += 1;
            put_aside(&self.place, client, &id, body, (attempt, NACKED)).await?;
        } else {
            let again = publication(&self.place, self.qos, body, attempt.saturating_add(1));
            client.publish_confirmed(again).await.context("cannot give it back")?;
        }
        self.unacked.remove();
        self.connection.client.ack(&message).await
    }

    /// A round trip behind the acks: the broker has them.
    async fn flush(&mut self) -> Result<()> {
        self.connection.client.round_trip().await
    }

    /// Leaves the session, with what is in it, to the other consumers.
    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        self.watch.stop().await?;
        layout::list(&self.place, &self.connection.client, &self.id, FREE).await?;
        self.closed = true;
        Ok(())
        // The connection is dropped without DISCONNECT: the will says once more that it is free.
    }
}
