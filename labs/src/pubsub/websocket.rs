//! Publish/subscribe over WebSocket: a browser can subscribe in five lines.
//!
//! Wire: the publisher is the server, and writes each event to the subscribers whose filter it
//! matches. A subscriber sends its filter as a text message (`prefix:chat.`) and is told `ok`, or
//! what is wrong with it. An event is a binary message: the topic, a line feed, the body; so
//! `topic, body = message.split(b"\n", 1)` reads it in Python.
//!
//! Confirms: a subscription, with `ok`: from then on a subscriber misses nothing. Events are not
//! confirmed: `publish` returns when they are in a buffer for each subscriber. A buffer is written
//! at 128 KiB or a `flush`, and waits for its subscriber: so all of them wait for the slowest. One
//! that takes nothing for `stalled-ms` is disconnected.
//!
//! Survives: the death of a subscriber, and one that breaks the protocol: the publisher and the
//! others go on. After a cut connection or a restart of the publisher, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the events, see Loses.
//!
//! Loses: what was on its way to a subscriber when its connection broke, and what is published
//! until it has subscribed again; what a publisher that dies had not written.
//!
//! Run it: `just lab pubsub-websocket`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::sockets::{
    Acceptor, Joined, Room, STALLED, Socket, StallLimit, Subscription, check_answer, read_filter,
};
use crate::wire::websocket::{self, WsConnection, WsWriter};

/// `pubsub-websocket`.
pub struct WebSocket {
    place: Place,
}

impl Lab for WebSocket {
    const TRANSPORT: &'static str = "websocket";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[STALLED];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl PubSub for WebSocket {
    const FILTERS: &'static [FilterKind] = &FilterKind::ALL;
    const PUBLISHERS: Option<usize> = Some(1);
    type Publisher = WsPublisher;
    type Subscriber = WsSubscriber;

    async fn publisher(&self) -> Result<WsPublisher> {
        let (bound, room) = (websocket::bind(&self.place).await?, Room::new());
        let place = self.place.clone();
        let acceptor = Acceptor::start(bound, move |socket, joined| {
            accept(socket, Arc::clone(&room), StallLimit::at(&place), joined)
        });
        Ok(WsPublisher { acceptor, subscriptions: Vec::new() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<WsSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let mut connection = WsConnection::connect(&self.place.peer().await?).await?;
        connection.put(Message::text(filter.to_string()))?;
        // Waiting for the answer writes the filter. With `ok`, the publisher has confirmed.
        check_answer(&connection.next().await?.context("the publisher closed the connection")?)?;
        Ok(WsSubscriber { connection, topics: TopicReader::new(&self.place) })
    }
}

/// The publishing end.
pub struct WsPublisher {
    /// Does the handshake with new subscribers in the meantime.
    acceptor: Acceptor<Subscription<WsWriter>>,
    subscriptions: Vec<Subscription<WsWriter>>,
}

/// The publisher's side of the handshake: reads the filter and answers.
async fn accept(
    socket: Socket,
    room: Arc<Room>,
    stall: StallLimit,
    joined: Joined<Subscription<WsWriter>>,
) -> Result<()> {
    let Some(mut connection) = WsConnection::accept(socket, &room).await? else { return Ok(()) };
    // A peer that leaves before it has sent anything has only looked in.
    let Some(text) = connection.next().await? else { return Ok(()) };
    let (filter, answer) = read_filter(&text);
    // Room is taken before the answer, and the answer is written before the publisher has the
    // connection: a subscriber that was told `ok` cannot be left out, and hears that first.
    let place = joined.reserve_owned().await?;
    connection.put(Message::text(answer))?;
    connection.flush().await?;
    if let Some(filter) = filter {
        place.send(Subscription { filter, connection: WsWriter::new(connection).within(stall) });
    }
    Ok(())
}

impl Publisher for WsPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if self.acceptor.has_news() {
            let acceptor = &self.acceptor;
            self.subscriptions.retain_mut(|subscriber| acceptor.is_here(subscriber.connection.ended()));
            self.subscriptions.extend(self.acceptor.newcomers());
        }
        let mut event = BytesMut::with_capacity(topic.as_str().len() + 1 + body.len());
        event.put_slice(topic.as_str().as_bytes());
        event.put_u8(b'\n');
        event.put_slice(&body);
        // One copy for all: a server masks nothing.
        let event = Message::Binary(event.freeze());
        websocket::check(&event)?;
        let mut at = 0;
        while let Some(Subscription { filter, connection }) = self.subscriptions.get_mut(at) {
            // A connection that breaks is a subscriber that has left.
            if filter.matches(topic)
                && let Err(error) = connection.put(event.clone()).await
            {
                self.acceptor.write_failed(&error);
                self.subscriptions.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some(subscription) = self.subscriptions.get_mut(at) {
            if let Err(error) = subscription.connection.flush().await {
                self.acceptor.write_failed(&error);
                self.subscriptions.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        for subscription in self.subscriptions.drain(..) {
            // One that has left before misses nothing.
            let _ = subscription.connection.close().await;
        }
        Ok(())
    }
}

/// The subscribing end.
pub struct WsSubscriber {
    connection: WsConnection,
    topics: TopicReader,
}

impl Subscriber for WsSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(message) = self.connection.next().await? else { return Ok(None) };
            if let Some(event) = self.event(message) {
                return Ok(Some(event));
            }
        }
    }
}

impl WsSubscriber {
    /// The event in a message; anything else is counted as skipped.
    fn event(&mut self, mut body: Bytes) -> Option<Event> {
        let Some(length) = body.iter().position(|byte| *byte == b'\n') else {
            return self.topics.skip("a message without a topic and a line feed");
        };
        let topic = self.topics.read(&body.split_to(length))?;
        body.advance(1);
        Some(Event { topic, body })
    }
}
