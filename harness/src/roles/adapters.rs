//! Adapters: the sending ends of labs as the send loop uses them.

use anyhow::Result;
use bytes::Bytes;
use labs::lab::{Lab, Overload};
use labs::oneway::Sender;
use labs::pubsub::Publisher;
use labs::topic::Topic;

use super::send_loop::MessageSink;

/// A sender as a sink.
pub(super) struct SenderSink<S> {
    pub(super) sender: S,
    /// A flush confirms what was sent, and that is noted.
    pub(super) confirms: bool,
}

impl<S: Sender> MessageSink for SenderSink<S> {
    #[inline]
    fn confirms(&self) -> bool {
        self.confirms
    }
    #[inline]
    async fn put(&mut self, body: Bytes) -> Result<()> {
        self.sender.send(body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.sender.flush().await
    }
}

/// A publisher as a sink, under one topic.
pub(super) struct TopicSink<P> {
    pub(super) publisher: P,
    pub(super) topic: Topic,
}

impl<P: Publisher> MessageSink for TopicSink<P> {
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
