//! One-way over WebSocket: each sender is a client, and a browser could be one.
//!
//! Wire: the receiver is the server, and senders connect to it. A connection begins as HTTP and is
//! then a stream of messages over TCP: one binary message is one body. A client must hide what it
//! sends behind a mask, which costs a pass over every byte at either end.
//!
//! Confirms: nothing. `send` returns when the message is in the client's buffer, which is written
//! at 128 KiB or at a `flush`; a slow receiver makes the sender wait. `close` writes a close frame
//! behind all of it, and does not wait for the answer.
//!
//! Survives: the death of a sender, and a sender that breaks the protocol and is disconnected: the
//! receiver reads on from the others. After a cut connection or a restart of the receiver, the
//! recovery layer (`labs/src/recovery/`) connects and joins again; for the messages, see Loses.
//!
//! Loses: when a connection is cut or the receiver dies, what was on its way; when a sender dies,
//! what it had not written.
//!
//! Run it: `just lab oneway-websocket`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use anyhow::Result;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Message;

use super::{OneWay, Receiver, Sender};
use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::wire::websocket::{self, WsConnection, WsListener, WsWriter};

/// `oneway-websocket`.
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

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl OneWay for WebSocket {
    type Sender = WsSender;
    type Receiver = WsReceiver;

    async fn sender(&self) -> Result<WsSender> {
        Ok(WsSender(WsWriter::new(WsConnection::connect(&self.place.peer().await?).await?)))
    }

    async fn receiver(&self) -> Result<WsReceiver> {
        Ok(WsReceiver(WsListener::new(websocket::bind(&self.place).await?)))
    }
}

/// The sending end: one connection.
pub struct WsSender(WsWriter);

impl Sender for WsSender {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.0.put(Message::Binary(body)).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// The receiving end: a connection from each sender.
pub struct WsReceiver(WsListener);

impl Receiver for WsReceiver {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next().await.map(|(_, body)| body))
    }
}
