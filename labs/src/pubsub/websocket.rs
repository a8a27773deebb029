//! Publish/subscribe over WebSocket: the publisher is the server, keeps every
//! subscriber's filter, and writes each event to those it matches.
//!
//! A subscriber sends its filter as a text message (`prefix:chat.`) and is told
//! `ok`: from then on it misses nothing. An event is a binary message: the
//! topic, a line feed, the body. So a browser can subscribe in five lines, and
//! `topic, body = message.split(b"\n", 1)` reads an event in Python. Back-pressure
//! reaches the publisher: it waits for the slowest subscriber, and so everybody does.
//!
//! Run it with `just lab pubsub-websocket`.

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

use super::{Event, PubSub, Publisher, Subscriber};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::topic::{Filter, FilterKind, Topic, TopicReader};
use crate::wire::door::{Door, Listener};
use crate::wire::websocket::{self, Talker, Ws};

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
        let bound = websocket::bind(&self.place).await?;
        Ok(WsPublisher { door: Door::open(bound, websocket::greet_subscriber), listeners: Vec::new() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<WsSubscriber> {
        filter.require(Self::TRANSPORT, Self::FILTERS)?;
        let ws = websocket::knock(&self.place.peer().await?, filter).await?;
        Ok(WsSubscriber { ws, topics: TopicReader::default() })
    }
}

/// The publishing end.
pub struct WsPublisher {
    door: Door<Listener<Talker>>,
    listeners: Vec<Listener<Talker>>,
}

impl Publisher for WsPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.listeners.extend(self.door.newcomers());
        let mut event = BytesMut::with_capacity(topic.as_str().len() + 1 + body.len());
        event.put_slice(topic.as_str().as_bytes());
        event.put_u8(b'\n');
        event.put_slice(&body);
        // One copy for all: a server masks nothing.
        let event = Message::Binary(event.freeze());
        websocket::check(&event)?;
        let mut at = 0;
        while let Some(listener) = self.listeners.get_mut(at) {
            // A connection that breaks is a subscriber that has left.
            if listener.filter.matches(topic) && listener.link.put(event.clone()).await.is_err() {
                self.listeners.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some(listener) = self.listeners.get_mut(at) {
            if listener.link.flush().await.is_err() {
                self.listeners.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        for listener in self.listeners.drain(..) {
            // One that has left before misses nothing.
            let _ = listener.link.close().await;
        }
        Ok(())
    }
}

/// The listening end.
pub struct WsSubscriber {
    ws: Ws,
    topics: TopicReader,
}

impl Subscriber for WsSubscriber {
    async fn next(&mut self) -> Result<Option<Event>> {
        let Some(mut body) = self.ws.next().await? else { return Ok(None) };
        let length = body.iter().position(|byte| *byte == b'\n').context("an event without a topic")?;
        let topic = self.topics.read(&body.split_to(length))?;
        body.advance(1);
        Ok(Some(Event { topic, body }))
    }
}
