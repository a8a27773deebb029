//! What the MQTT labs share: a connection with a task of its own that polls
//! the client, publishing that can tell what was written and what was
//! confirmed, and an inbox that is read no faster than it is emptied.
//!
//! The client, `rumqttc`, hands a message to its event loop and tells nothing
//! more. What became of it is read off the loop's events: the packet
//! identifier of the oldest message that was handed over, when it is written;
//! that identifier again, when the broker has confirmed it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::v5::{ConnAck, LastWill, Packet, PubRecReason, Publish, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use crate::lab::Place;

mod answer;
mod intake;
pub(crate) mod sessions;
mod traffic;

use answer::{Answer, Refusal, puback, pubcomp, pubrec, suback};
pub(crate) use intake::Intake;
pub(crate) use rumqttc::v5::mqttbytes::QoS;
pub(crate) use rumqttc::v5::mqttbytes::v5 as packet;
use traffic::{Confirmation, MESSAGES, Traffic, Waiting};

/// Messages that have come and wait for the reader. When so many wait the
/// client is not polled and reads no more: the rest waits at the broker.
const INBOX: usize = 256;
/// Where messages are acknowledged there cannot be more than MQTT has packet
/// identifiers. Such an inbox never fills up, for its acknowledgements have to
/// go out; how many the reader gets of it, [`Intake`] says.
const IDENTIFIERS: usize = u16::MAX as usize;
/// The largest packet that the protocol has.
const LARGEST: u32 = 268_435_455;
/// Who does not read cannot answer the broker's heart-beat either, and is to
/// be cut off for that as late as possible. Seconds.
const LONGEST_SILENCE: u64 = 65_535;
/// Where nobody waits for a reader, a host that vanished is noticed after one
/// and a half of this. Seconds.
const HEARTBEAT: u64 = 30;
/// A session that outlives its connections for ever.
const FOR_EVER: u32 = u32::MAX;

/// Who a client is to the broker.
#[derive(Default)]
pub(crate) struct Who {
    /// Names a session that outlives this connection, and is continued if there
    /// is one; none: a session of its own that ends with the connection.
    pub(crate) session: Option<String>,
    /// How many messages that it has not acknowledged the broker may send it.
    pub(crate) unacked: Option<u16>,
    /// What the broker publishes when this client goes without a word.
    pub(crate) will: Option<LastWill>,
    /// Read on whether anybody empties the inbox or not, and drop what comes
    /// while so many messages wait; none: read no further than that.
    pub(crate) high_water: Option<usize>,
}

/// A connection to the broker: what goes out and what comes in.
pub(crate) struct Link {
    pub(crate) out: Outbox,
    pub(crate) inbox: Inbox,
    /// Whether the broker had the session already.
    pub(crate) resumed: bool,
}

impl Link {
    /// Connects as nobody in particular.
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        Self::of(place, Who::default()).await
    }

    /// Connects; the broker has agreed when this returns.
    pub(crate) async fn of(place: &Place, who: Who) -> Result<Self> {
        let hold = who.high_water.or(who.unacked.map(|_| IDENTIFIERS)).unwrap_or(INBOX).max(1);
        let drops = who.high_water.is_some();
        let options = options(place, who)?;
        let (client, mut events) = AsyncClient::new(options, MESSAGES + 64);
        if !events.options.clean_start() {
            expect_releases(&mut events);
        }
        let connack = connack(&mut events)
            .await
            .with_context(|| format!("cannot connect to the MQTT broker at {}", place.url().unwrap_or("")))?;
        let traffic = Arc::new(Traffic::default());
        let (came, inbox) = mpsc::channel(hold);
        let driver = tokio::spawn(drive(events, Arc::clone(&traffic), came, drops));
        let wire = Arc::new(Wire { client, traffic, driver });
        let resumed = connack.session_present;
        Ok(Self { out: Outbox(Arc::clone(&wire)), inbox: Inbox { came: inbox, wire }, resumed })
    }

    /// Subscribes; live when this returns.
    pub(crate) async fn subscribe(&self, filter: &str, qos: QoS) -> Result<()> {
        self.out.subscribe(filter, qos).await
    }

    /// The retained messages under `filter`: what the broker sends to whoever
    /// subscribes there, before it answers to anything that is asked later.
    pub(crate) async fn retained(&mut self, filter: &str) -> Result<Vec<Publish>> {
        let (out, inbox, mut found) = (self.out.clone(), &mut self.inbox, Vec::new());
        let mut asking = std::pin::pin!(async {
            out.subscribe(filter, QoS::AtMostOnce).await?;
            out.barrier().await
        });
        loop {
            tokio::select! {
                biased;
                message = inbox.next() => found.push(message?),
                asked = &mut asking => break asked?,
            }
        }
        while let Ok(message) = inbox.came.try_recv() {
            found.push(message);
        }
        found.retain(|message| message.retain);
        Ok(found)
    }

    /// Everything that was handed over has been dealt with, and the broker is
    /// told that this client leaves: no will is published.
    pub(crate) async fn close(self) -> Result<()> {
        self.out.clone().close(self.inbox).await
    }
}

/// Clears what the broker retains under `PLACE/…`.
pub(crate) async fn clear_retained(place: &Place) -> Result<()> {
    let mut link = Link::to(place).await?;
    for message in link.retained(&topic(place, "#")).await? {
        let topic = std::str::from_utf8(&message.topic).context("a topic that is not text")?.to_owned();
        // An empty retained message is how MQTT takes one away.
        link.out
            .publish(Message { topic, qos: QoS::AtLeastOnce, retain: true, ..Message::default() })
            .await?;
    }
    link.close().await
}

/// `PLACE/rest`: what does not begin with the place's name is another's.
pub(crate) fn topic(place: &Place, rest: &str) -> String {
    format!("{}/{rest}", place.name())
}

/// The filter of a shared subscription: what matches goes to one of the group.
pub(crate) fn shared(group: &str, topic: &str) -> String {
    format!("$share/{group}/{topic}")
}

/// What is published.
#[derive(Default)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) body: Bytes,
    pub(crate) properties: Option<PublishProperties>,
}

/// The sending half of a link. Whoever has one keeps the connection.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Wire>);

impl Outbox {
    /// Accepts a message; waits while too much is on its way.
    pub(crate) async fn publish(&self, message: Message) -> Result<()> {
        let room = self.0.traffic.room(message.body.len()).await?;
        self.hand_over(message, room, None)
    }

    /// Publishes at QoS 1 or 2; returns when the broker has confirmed, and has a
    /// subscriber for it.
    pub(crate) async fn publish_confirmed(&self, message: Message) -> Result<()> {
        self.publish_to_confirm(message).await?.wait().await
    }

    /// Accepts a message at QoS 1 or 2; the confirmation can be waited for later.
    pub(crate) async fn publish_to_confirm(&self, message: Message) -> Result<Waiting> {
        let room = self.0.traffic.room(message.body.len()).await?;
        let (sender, confirmed) = Confirmation::pair();
        self.hand_over(message, room, Some(sender))?;
        Ok(confirmed)
    }

    /// There is no await in here: what is noted down stays in the order in
    /// which the event loop gets it, whoever gives up waiting.
    fn hand_over(&self, message: Message, room: usize, confirm: Option<Confirmation>) -> Result<()> {
        let Message { topic, qos, retain, body, properties } = message;
        self.0.traffic.accept(room, confirm);
        let handed = match properties {
            Some(properties) => {
                self.0.client.try_publish_with_properties(topic, qos, retain, body, properties)
            }
            None => self.0.client.try_publish(topic, qos, retain, body),
        };
        handed.ok().context("the client does not take the message")
    }

    /// Acknowledges a message: accepted.
    pub(crate) async fn ack(&self, message: &Publish) -> Result<()> {
        self.0.traffic.room_for_ack().await?;
        self.0.client.try_ack(message).ok().context("the client does not take the acknowledgement")
    }

    /// All that was accepted is written, and confirmed where its quality of service has that.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.0.traffic.settled().await
    }

    /// The broker has dealt with all that was handed over, acknowledgements
    /// included: it serves a connection in order, and this asks for an answer.
    pub(crate) async fn barrier(&self) -> Result<()> {
        // The cheapest question there is: it ends a subscription that nobody has.
        self.unsubscribe("barrier").await
    }

    pub(crate) async fn subscribe(&self, filter: &str, qos: QoS) -> Result<()> {
        let (sender, confirmed) = Confirmation::pair();
        self.0.traffic.ask(sender);
        let asked = self.0.client.try_subscribe(filter, qos);
        asked.ok().with_context(|| format!("the client does not take a subscription to {filter}"))?;
        confirmed.wait().await.with_context(|| format!("cannot subscribe to {filter}"))
    }

    pub(crate) async fn unsubscribe(&self, filter: &str) -> Result<()> {
        let (sender, confirmed) = Confirmation::pair();
        self.0.traffic.ask(sender);
        self.0.client.try_unsubscribe(filter).ok().context("the client does not take it")?;
        confirmed.wait().await.with_context(|| format!("cannot end the subscription to {filter}"))
    }

    /// As [`Link::close`]; what still comes is thrown away.
    pub(crate) async fn close(self, mut inbox: Inbox) -> Result<()> {
        self.flush().await?;
        self.0.client.try_disconnect().ok().context("the client does not take the good-bye")?;
        while inbox.came.recv().await.is_some() {}
        Ok(())
    }
}

/// The receiving half of a link.
pub(crate) struct Inbox {
    came: mpsc::Receiver<Publish>,
    wire: Arc<Wire>,
}

impl Inbox {
    /// The next message; an error when there cannot be one any more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Publish> {
        match self.came.recv().await {
            Some(message) => Ok(message),
            None => Err(self.wire.traffic.why().context("lost the connection to the MQTT broker")),
        }
    }

    /// How many were dropped because too many waited here.
    pub(crate) fn dropped(&self) -> u64 {
        self.wire.traffic.dropped_so_far()
    }
}

/// One connection, closed when nobody has a part of it any more.
struct Wire {
    client: AsyncClient,
    traffic: Arc<Traffic>,
    driver: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn options(place: &Place, who: Who) -> Result<MqttOptions> {
    let endpoint = place.endpoint("mqtt", 1883)?;
    // Without a name the broker makes one up.
    let mut options = MqttOptions::new(who.session.clone().unwrap_or_default(), endpoint.host, endpoint.port);
    if let Some((user, password)) = endpoint.login {
        options.set_credentials(user, password);
    }
    let mut network = options.network_options();
    // Nagle's algorithm would hold back the small packets that follow one another.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    options.set_clean_start(who.session.is_none());
    options.set_session_expiry_interval(who.session.map(|_| FOR_EVER));
    options.set_max_packet_size(Some(LARGEST));
    options.set_receive_maximum(who.unacked);
    options.set_manual_acks(true);
    // Twice what can be on its way: no identifier comes round while it is in use.
    options.set_outgoing_inflight_upper_limit(2 * MESSAGES as u16);
    let reads_on = who.unacked.is_some() || who.high_water.is_some();
    let silence = if reads_on { HEARTBEAT } else { LONGEST_SILENCE };
    options.set_keep_alive(Duration::from_secs(silence));
    if let Some(will) = who.will {
        options.set_last_will(will);
    }
    Ok(options)
}

/// Ends a session that outlives connections, with all that waits in it.
pub(crate) async fn end_session(place: &Place, session: &str) -> Result<()> {
    let mut options = options(place, Who { session: Some(session.to_owned()), ..Who::default() })?;
    options.set_clean_start(true);
    options.set_session_expiry_interval(None);
    let (client, mut events) = AsyncClient::new(options, 1);
    connack(&mut events).await.with_context(|| format!("cannot end the session {session}"))?;
    client.disconnect().await.context("cannot say good-bye")?;
    // The broker closes the connection when it has read that.
    while events.poll().await.is_ok() {}
    Ok(())
}

/// A session may have been left in the middle of QoS 2: what an earlier client
/// has acknowledged, the broker releases to this one, which has not seen it. To
/// `rumqttc` that is an error and the end of the connection, and the next would
/// end in the same way; so it is made to believe that it has seen everything.
fn expect_releases(events: &mut EventLoop) {
    for id in 1..=u16::MAX {
        let seen = Publish { qos: QoS::ExactlyOnce, pkid: id, ..Publish::default() };
        // With manual acknowledgements there is nothing to answer, and nothing can fail.
        let _ = events.state.handle_incoming_packet(Packet::Publish(seen));
        events.state.events.clear();
    }
}

async fn connack(events: &mut EventLoop) -> Result<ConnAck> {
    match events.poll().await? {
        Event::Incoming(Packet::ConnAck(connack)) => Ok(connack),
        other => anyhow::bail!("{other:?} came where the broker's answer was due"),
    }
}

/// Polls the client without a pause, but for a full inbox, until the connection
/// ends: the client would go on to connect again, to a session that may be new.
async fn drive(mut events: EventLoop, traffic: Arc<Traffic>, came: mpsc::Sender<Publish>, drops: bool) {
    let why = loop {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => traffic.written(id),
            Ok(Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubRec(_))) => traffic.acked(),
            Ok(Event::Incoming(packet)) => match packet {
                Packet::Publish(message) if drops => match came.try_send(message) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => traffic.dropped(),
                    Err(TrySendError::Closed(_)) => break "nobody reads any more".to_owned(),
                },
                Packet::Publish(message) => {
                    let taken = came.send(message).await;
                    if taken.is_err() {
                        break "nobody reads any more".to_owned();
                    }
                }
                Packet::PubAck(ack) => traffic.confirmed(ack.pkid, puback(ack.reason)),
                Packet::PubComp(done) => traffic.confirmed(done.pkid, pubcomp(done.reason)),
                // The first half of QoS 2 says whether the broker takes it; the second follows.
                Packet::PubRec(half) if half.reason != PubRecReason::Success => {
                    traffic.confirmed(half.pkid, pubrec(half.reason));
                }
                Packet::SubAck(answer) => traffic.answered(suback(&answer.return_codes)),
                Packet::UnsubAck(_) => traffic.answered(Ok(())),
                _ => {}
            },
            Ok(Event::Outgoing(_)) => {}
            Err(error) => break error.to_string(),
        }
    };
    traffic.end(&why);
}
