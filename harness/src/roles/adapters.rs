//! The ends of labs as the send loop uses them.

use anyhow::Result;
use bytes::Bytes;
use labs::lab::{Lab, Overload};
use labs::oneway::Sender;
use labs::pubsub::Publisher;
use labs::topic::Topic;

use super::send_loop::Outlet;

/// A sender as an outlet.
pub(super) struct Way<S>(pub(super) S);

impl<S: Sender> Outlet for Way<S> {
    #[inline]
    async fn put(&mut self, body: Bytes) -> Result<()> {
        self.0.send(body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
}

/// A publisher as an outlet, under one topic.
pub(super) struct Channel<P> {
    pub(super) publisher: P,
    pub(super) topic: Topic,
}

impl<P: Publisher> Outlet for Channel<P> {
    #[inline]
    async fn put(&mut self, body: Bytes) -> Result<()> {
        self.publisher.publish(&self.topic, body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.publisher.flush().await
    }
}

/// Whether the lab's overload policy loses messages.
pub(super) fn lossy<L: Lab>() -> bool {
    matches!(L::OVERLOAD, Overload::Drops | Overload::Disconnects)
}
