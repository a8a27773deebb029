//! A protocol bridge: events published over MQTT 3.1.1 are consumed over MQTT,
//! AMQP and STOMP. RabbitMQ speaks all three, and to it they are one thing: a
//! message, a routing key, and the exchange `amq.topic`. MQTT's slashes become
//! AMQP's dots.
//!
//! Each leg has the guarantee of its own protocol, and the whole has that of its
//! weakest leg. Asked for QoS 2, RabbitMQ gives QoS 1: its SUBACK says so, and it
//! answers a PUBLISH with PUBACK, where exactly-once delivery begins with PUBREC.
//! Both consumers have a durable queue and ack each event; each of them refuses
//! one once, to see it come again.
//!
//! Run it with `just bridge`.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use rumqttc::{AsyncClient, EventLoop, MqttOptions, Outgoing, Packet, Publish, QoS, SubscribeReasonCode};

use crate::durable::DurablePubSub;
use crate::durable::stomp::Stomp;
use crate::lab::{Lab, Place};
use crate::queue::rabbitmq::QueueConsumer;
use crate::queue::{Consumer, Delivery};
use crate::topic::Filter;
use crate::wire::amqp::{self, AmqpConnection};

/// What RabbitMQ's MQTT plugin publishes to, and STOMP's `/topic/` binds to.
const EXCHANGE: &str = "amq.topic";
/// The name of the STOMP leg's durable subscription.
const SUBSCRIBER: &str = "stomp";
/// The word that events are published under, below the place's name.
const WORD: &str = "event";

/// One protocol's side of the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// Publishes, and hears what it published.
    Mqtt,
    /// A durable queue, acks.
    Amqp,
    /// A durable subscription, acks.
    Stomp,
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mqtt => "mqtt",
            Self::Amqp => "amqp",
            Self::Stomp => "stomp",
        })
    }
}

/// Something that happened, as the protocols have told it.
#[derive(Debug, Clone)]
pub enum Happened {
    /// A leg listens.
    Joined {
        /// Which.
        leg: Leg,
        /// Where, in its protocol's own words.
        at: String,
        /// The quality of service that was asked for, where there is such a thing.
        asked: Option<u8>,
        /// What was granted.
        given: Option<u8>,
    },
    /// An event was published over MQTT, and the broker has answered.
    Published {
        /// The event.
        text: String,
        /// Its topic.
        to: String,
        /// The quality of service that was asked for.
        asked: u8,
        /// The packet that answered: PUBACK belongs to QoS 1, PUBREC to QoS 2.
        answer: &'static str,
        /// The quality of service that this makes it.
        given: u8,
    },
    /// An event arrived.
    Arrived {
        /// Where.
        leg: Leg,
        /// The event.
        text: String,
        /// Topic, routing key, or what the lab makes of the destination.
        under: String,
        /// The protocol's own mark.
        redelivered: bool,
        /// What the broker says was used, where it says anything.
        qos: Option<u8>,
    },
    /// A consumer has told the broker what becomes of an event.
    Settled {
        /// Which.
        leg: Leg,
        /// The event.
        text: String,
        /// Acked; otherwise refused, to be delivered again.
        accepted: bool,
    },
}

/// Publishes `texts` and consumes them on every leg; `tell` hears what happens
/// when it happens. Of the events, each consumer refuses the first once.
pub async fn play(place: &Place, texts: &[&str], tell: &mut dyn FnMut(Happened)) -> Result<()> {
    ensure!(!place.name().contains(['.', '/']), "a bridge's name is one word of a topic");
    let mut mqtt = Mqtt::join(place, tell).await?;
    let mut amqp = amqp_leg(place, tell).await?;
    let stomp = Stomp::open(place).await?;
    let mut subscriber = stomp.durable(SUBSCRIBER, &Filter::All).await?;
    let at = format!("/topic/{}.#", place.name());
    tell(Happened::Joined { leg: Leg::Stomp, at, asked: None, given: None });

    for text in texts {
        mqtt.publish(text, tell).await?;
    }
    let expected = Expected { place, texts };
    mqtt.hear(expected, tell).await?;
    consume_amqp(&mut amqp, expected, tell).await?;
    consume_stomp(&mut subscriber, expected, tell).await?;

    mqtt.leave().await?;
    amqp.close().await?;
    subscriber.close().await
}

/// The events that were published here. Others can publish as well, through any of the protocols.
#[derive(Clone, Copy)]
struct Expected<'a> {
    place: &'a Place,
    texts: &'a [&'a str],
}

impl Expected<'_> {
    /// The text of an event; anything else is counted as skipped.
    fn text(&self, body: &[u8]) -> Option<String> {
        let text = self.texts.iter().find(|text| text.as_bytes() == body);
        if text.is_none() {
            self.place.message_skipped("an event that was not published here");
        }
        text.map(|text| (*text).to_owned())
    }
}

/// Removes the queues; what came first, the play or its end, does not matter.
pub async fn remove(place: &Place) -> Result<()> {
    let stomp = Stomp::open(place).await?;
    stomp.forget(SUBSCRIBER).await?;
    amqp::delete_queue(place, &place.namespace("amqp").name()).await
}

/// The MQTT client: a hand to ask with, and a loop where answers come.
struct Mqtt {
    client: AsyncClient,
    events: EventLoop,
    topic: String,
    /// Events that came while an answer was waited for.
    came: Vec<Publish>,
}

impl Mqtt {
    async fn join(place: &Place, tell: &mut dyn FnMut(Happened)) -> Result<Self> {
        let endpoint = place.endpoint("mqtt")?;
        let mut options = MqttOptions::new(place.name(), endpoint.host_in_url(), endpoint.port);
        if let Some((user, password)) = &endpoint.login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, 16);
        let topic = format!("{}/{WORD}", place.name());
        let mut mqtt = Self { client, events, topic, came: Vec::new() };
        let connected = |packet: &Packet| matches!(packet, Packet::ConnAck(_)).then_some(());
        let at = || format!("cannot connect to RabbitMQ's MQTT plugin at {endpoint}");
        mqtt.until(connected).await.with_context(at)?;
        mqtt.client.subscribe(&mqtt.topic, QoS::ExactlyOnce).await?;
        let granted = mqtt.until(|packet| match packet {
            Packet::SubAck(granted) => granted.return_codes.first().copied(),
            _ => None,
        });
        let SubscribeReasonCode::Success(given) = granted.await? else {
            bail!("RabbitMQ refused to subscribe")
        };
        let (asked, given) = (Some(QoS::ExactlyOnce as u8), Some(given as u8));
        tell(Happened::Joined { leg: Leg::Mqtt, at: mqtt.topic.clone(), asked, given });
        Ok(mqtt)
    }

    /// Publishes one event, and waits for what RabbitMQ answers.
    async fn publish(&mut self, text: &str, tell: &mut dyn FnMut(Happened)) -> Result<()> {
        self.client.publish(&self.topic, QoS::ExactlyOnce, false, text).await?;
        let answered = self.until(|packet| match packet {
            Packet::PubAck(_) => Some(("PUBACK", 1)),
            Packet::PubComp(_) => Some(("PUBREC", 2)),
            _ => None,
        });
        let (answer, given) = answered.await?;
        let (text, to, asked) = (text.to_owned(), self.topic.clone(), QoS::ExactlyOnce as u8);
        tell(Happened::Published { text, to, asked, answer, given });
        Ok(())
    }

    /// Hears its own events. The client acks them by itself.
    async fn hear(&mut self, expected: Expected<'_>, tell: &mut dyn FnMut(Happened)) -> Result<()> {
        let mut heard = 0;
        while heard < expected.texts.len() {
            if self.came.is_empty() {
                self.until(|packet| matches!(packet, Packet::Publish(_)).then_some(())).await?;
            }
            for event in self.came.drain(..) {
                let Some(text) = expected.text(&event.payload) else { continue };
                let (leg, under, redelivered, qos) =
                    (Leg::Mqtt, event.topic, event.dup, Some(event.qos as u8));
                tell(Happened::Arrived { leg, text, under, redelivered, qos });
                heard += 1;
            }
        }
        Ok(())
    }

    /// Runs the loop until RabbitMQ says what is waited for.
    async fn until<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> Result<T> {
        loop {
            if let rumqttc::Event::Incoming(packet) = self.events.poll().await? {
                let found = wanted(&packet);
                if let Packet::Publish(event) = packet {
                    self.came.push(event);
                }
                if let Some(found) = found {
                    return Ok(found);
                }
            }
        }
    }

    async fn leave(mut self) -> Result<()> {
        self.client.disconnect().await?;
        while self.events.poll().await? != rumqttc::Event::Outgoing(Outgoing::Disconnect) {}
        Ok(())
    }
}

/// A durable queue, bound to everything below the place's name.
async fn amqp_leg(place: &Place, tell: &mut dyn FnMut(Happened)) -> Result<QueueConsumer> {
    let connection = AmqpConnection::open(place).await?;
    let (queue, key) = (place.namespace("amqp").name(), format!("{}.#", place.name()));
    let (channel, options) =
        (&connection.channel, QueueDeclareOptions { durable: true, ..Default::default() });
    let declare = channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
    declare.await.with_context(|| format!("cannot declare the queue {queue}"))?;
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let exchange = EXCHANGE.into();
    let bind = channel.queue_bind(queue.as_str().into(), exchange, key.as_str().into(), options, arguments);
    bind.await.context("cannot bind the queue")?;
    let inbox = QueueConsumer::join(connection, &queue, 16).await?;
    let at = format!("queue {queue}, bound to {EXCHANGE} with {key}");
    tell(Happened::Joined { leg: Leg::Amqp, at, asked: None, given: None });
    Ok(inbox)
}

async fn consume_amqp(
    inbox: &mut QueueConsumer,
    expected: Expected<'_>,
    tell: &mut dyn FnMut(Happened),
) -> Result<()> {
    let (mut refused, mut accepted, leg) = (false, 0, Leg::Amqp);
    while accepted < expected.texts.len() {
        let (delivery, _) = inbox.delivery().await?;
        let Some(text) = expected.text(&delivery.data) else {
            inbox.ack(delivery.delivery_tag).await?;
            continue;
        };
        let (under, redelivered) = (delivery.routing_key.to_string(), delivery.redelivered);
        let headers = delivery.properties.headers().as_ref().map(FieldTable::inner);
        let qos = headers.and_then(|headers| match headers.get("x-mqtt-publish-qos")? {
            AMQPValue::ShortShortUInt(qos) => Some(*qos),
            AMQPValue::ShortShortInt(qos) => u8::try_from(*qos).ok(),
            _ => None,
        });
        tell(Happened::Arrived { leg, text: text.clone(), under, redelivered, qos });
        if std::mem::replace(&mut refused, true) {
            inbox.ack(delivery.delivery_tag).await?;
            accepted += 1;
        } else {
            inbox.nack(delivery.delivery_tag).await?;
        }
        tell(Happened::Settled { leg, text, accepted: accepted > 0 });
    }
    inbox.flush().await
}

async fn consume_stomp(
    subscriber: &mut <Stomp as DurablePubSub>::Durable,
    expected: Expected<'_>,
    tell: &mut dyn FnMut(Happened),
) -> Result<()> {
    let (mut refused, mut accepted, leg) = (false, 0, Leg::Stomp);
    while accepted < expected.texts.len() {
        let delivery = subscriber.next().await?.context("the subscription has ended")?;
        let Delivery { item, attempt, receipt } = delivery;
        let Some(text) = expected.text(&item.body) else {
            subscriber.ack(receipt).await?;
            continue;
        };
        let (under, redelivered) = (item.topic.to_string(), attempt > 1);
        tell(Happened::Arrived { leg, text: text.clone(), under, redelivered, qos: None });
        if std::mem::replace(&mut refused, true) {
            subscriber.ack(receipt).await?;
            accepted += 1;
        } else {
            subscriber.nack(receipt).await?;
        }
        tell(Happened::Settled { leg, text, accepted: accepted > 0 });
    }
    subscriber.flush().await
}
