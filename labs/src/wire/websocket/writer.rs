//! A WebSocket connection on which a lab only writes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::WsConnection;

/// A connection on which a lab only writes. Beside it a task reads: it answers pings, and
/// notices that the peer has left.
pub struct WsWriter {
    ws: Arc<Mutex<WsConnection>>,
    reading: JoinSet<Result<()>>,
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
        Self { ws, reading }
    }

    /// Whether the connection has ended; an error if the peer broke the protocol.
    pub fn ended(&mut self) -> Option<Result<()>> {
        self.reading.try_join_next().map(|ended| ended.unwrap_or(Ok(())))
    }

    /// Accepts a message; waits while what came before cannot be written.
    pub async fn put(&mut self, message: Message) -> Result<()> {
        poll_fn(|cx| lock(&self.ws).poll_room(cx)).await?;
        lock(&self.ws).put(message)
    }

    /// Writes all that was put.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| lock(&self.ws).poll_flush(cx)).await
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
