//! A WebSocket connection on which a lab only writes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::WsConnection;
use crate::wire::sockets::StallLimit;

/// A connection on which a lab only writes. Beside it a task reads: it answers pings, and
/// notices that the peer has left.
pub struct WsWriter {
    ws: Arc<Mutex<WsConnection>>,
    reading: JoinSet<Result<()>>,
    stall: StallLimit,
}

impl WsWriter {
    /// Takes over a connection on which nothing more is expected.
    pub fn new(ws: WsConnection) -> Self {
        let ws = Arc::new(Mutex::new(ws));
        let (connection, mut reading) = (Arc::clone(&ws), JoinSet::new());
        reading.spawn(async move {
            // It must not flush: of two tasks that wait to write, the crate wakes one.
            while poll_fn(|cx| lock(&connection).poll_read(cx)).await?.is_some() {}
            Ok(())
        });
        Self { ws, reading, stall: StallLimit::new(Duration::ZERO) }
    }

    /// The same; from now on a peer that takes nothing for too long is an error.
    pub fn within(self, stall: StallLimit) -> Self {
        Self { stall, ..self }
    }

    /// Whether the connection has ended; an error if the peer broke the protocol.
    pub fn ended(&mut self) -> Option<Result<()>> {
        self.reading.try_join_next().map(|ended| ended.unwrap_or(Ok(())))
    }

    /// Accepts a message; waits while what came before cannot be written.
    pub async fn put(&mut self, message: Message) -> Result<()> {
        self.wait(WsConnection::poll_room).await?;
        lock(&self.ws).put(message)
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<()> {
        self.wait(WsConnection::poll_flush).await
    }

    async fn wait(
        &mut self,
        poll: impl Fn(&mut WsConnection, &mut Context<'_>) -> Poll<Result<()>>,
    ) -> Result<()> {
        let (ws, stall) = (&self.ws, &mut self.stall);
        stall.begin();
        poll_fn(|cx| {
            let mut ws = lock(ws);
            match poll(&mut ws, cx) {
                Poll::Ready(done) => Poll::Ready(done),
                Poll::Pending => stall.poll_stalled(ws.written(), cx).map(Err),
            }
        })
        .await
    }

    /// Says good-bye behind all that was put. The peer reads in order, and so
    /// everything before it: its answer is not waited for.
    pub async fn close(mut self) -> Result<()> {
        let good_bye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") };
        self.put(Message::Close(Some(good_bye))).await?;
        self.flush().await
    }
}

/// A poisoned lock here means that the other task has panicked: the connection is as it was.
fn lock(ws: &Mutex<WsConnection>) -> MutexGuard<'_, WsConnection> {
    ws.lock().unwrap_or_else(PoisonError::into_inner)
}
