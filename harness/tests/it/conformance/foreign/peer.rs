//! A publisher that is not ours: it speaks a peer-to-peer lab's protocol, and does not keep to it.

use std::any::Any;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use labs::lab::Place;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_tungstenite::tungstenite::Message;

use super::super::pubsub::TOPIC;
use super::super::stream::message;

/// What was published: event 0, foreign ones, event 1.
pub(super) struct Played {
    /// How many of them were foreign.
    pub(super) foreign: usize,
    /// What keeps the connection.
    pub(super) publisher: Box<dyn Any>,
}

/// Listens at the place, waits for the subscriber, and publishes.
pub(super) async fn publish(transport: &str, place: &Place) -> Result<Played> {
    match transport {
        "tcp" => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            place.announce(listener.local_addr()?);
            frames(listener.accept().await?.0).await
        }
        "unix" => {
            let folder: TempDir = tempfile::tempdir()?;
            let path = folder.path().join("publisher");
            let listener = UnixListener::bind(&path)?;
            place.announce(format!("unix:{}", path.display()));
            let played = frames(listener.accept().await?.0).await?;
            Ok(Played { publisher: Box::new((played.publisher, folder)), ..played })
        }
        "websocket" => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            place.announce(format!("ws://{}", listener.local_addr()?));
            let mut socket = tokio_tungstenite::accept_async(listener.accept().await?.0).await?;
            socket.next().await.context("no filter came")??;
            socket.send(Message::text("ok")).await?;
            let foreign: [&[u8]; 5] =
                [b"", b"no line feed", b"\nno topic", "küche\nx".as_bytes(), b"\xff\xfe\nx"];
            let event = |number| [TOPIC.as_bytes(), b"\n", &message(number, 64)].concat();
            for bytes in [event(0)].into_iter().chain(foreign.map(<[u8]>::to_vec)).chain([event(1)]) {
                socket.send(Message::binary(bytes)).await?;
            }
            Ok(Played { foreign: foreign.len(), publisher: Box::new(socket) })
        }
        "zeromq" => zeromq(place).await,
        _ => bail!("there is no other publisher for {transport}"),
    }
}

/// Frames: four bytes of length, then so many bytes. In them, a byte of topic length, the topic,
/// and the body.
async fn frames<S: AsyncRead + AsyncWrite + Unpin + 'static>(mut stream: S) -> Result<Played> {
    let length = stream.read_u32().await?;
    stream.read_exact(&mut vec![0; length as usize]).await.context("no filter came")?;
    let event = |number| [&[TOPIC.len() as u8], TOPIC.as_bytes(), &message(number, 64)].concat();
    let foreign: [&[u8]; 6] = [b"", b"\x00no topic", b"\x06half", b"\x02\xff\xfex", b"\x03a b", b"\xff"];
    let frames = [b"ok".to_vec(), event(0)].into_iter().chain(foreign.map(<[u8]>::to_vec)).chain([event(1)]);
    for frame in frames {
        stream.write_u32(frame.len() as u32).await?;
        stream.write_all(&frame).await?;
    }
    stream.flush().await?;
    Ok(Played { foreign: foreign.len(), publisher: Box::new(stream) })
}

/// A PUB socket, byte by byte (ZMTP 3.0): the crate's own does not say when somebody has subscribed.
async fn zeromq(place: &Place) -> Result<Played> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    place.announce(format!("tcp://{}", listener.local_addr()?));
    let mut stream = listener.accept().await?.0;
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).await?;
    stream.read_exact(&mut greeting).await?;
    stream.write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB").await?;
    // Its READY, then its subscription.
    for _ in 0..2 {
        let (_flags, length) = (stream.read_u8().await?, stream.read_u8().await?);
        stream.read_exact(&mut vec![0; usize::from(length)]).await?;
    }
    let event = |number| vec![TOPIC.as_bytes().to_vec(), message(number, 64).to_vec()];
    let foreign: [&[&[u8]]; 5] = [
        &["küche".as_bytes(), b"x"],
        &[b"", b"x"],
        &[b"one-frame"],
        &[b"a", b"b", b"c"],
        &[b"\xff\xfe", b"x"],
    ];
    let foreign_count = foreign.len();
    let foreign = foreign.map(|frames| frames.iter().map(|frame| frame.to_vec()).collect());
    for frames in [event(0)].into_iter().chain(foreign).chain([event(1)]) {
        for (at, frame) in frames.iter().enumerate() {
            let more = u8::from(at + 1 < frames.len());
            stream.write_all(&[&[more, frame.len() as u8], &frame[..]].concat()).await?;
        }
    }
    Ok(Played { foreign: foreign_count, publisher: Box::new(stream) })
}
