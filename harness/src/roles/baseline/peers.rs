//! Baselines without a broker: the same frames as the labs of the same transport.

use anyhow::{Context, Result, ensure};
use labs::lab::Place;

use super::frame::Frame;
use super::socket::{Listener, Socket, Source};
use super::wire::{Wire, nothing};

/// Four bytes of length, then the body.
fn prefixed(body: &[u8]) -> Frame {
    Frame::new([&(body.len() as u32).to_be_bytes(), body].concat())
}

fn connect(_: &Place, peer: Option<&str>) -> Result<Socket> {
    Socket::connect(peer.context("the receiver's address is unknown")?)
}

pub(super) const TCP: Wire = Wire {
    connect,
    frame: |_, body| prefixed(body),
    receive: |place| Ok(Source::Listening(Listener::tcp(place)?, |_| Ok(()))),
    answer: None,
    even: true,
    remove: nothing,
};
pub(super) const UNIX: Wire =
    Wire { receive: |place| Ok(Source::Listening(Listener::unix(place)?, |_| Ok(()))), ..TCP };
pub(super) const TCP_ANSWERED: Wire = Wire { answer: Some(prefixed), ..TCP };
pub(super) const UNIX_ANSWERED: Wire = Wire { answer: Some(prefixed), ..UNIX };

/// HTTP/1.1, pipelined: what `reqrep-http` has for each of its connections.
pub(super) const HTTP: Wire = Wire {
    frame: |_, body| {
        let head = format!("POST / HTTP/1.1\r\nhost: lab\r\ncontent-length: {}\r\n\r\n", body.len());
        Frame::new([head.as_bytes(), body].concat())
    },
    answer: Some(|body| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Frame::new([head.as_bytes(), body].concat())
    }),
    ..TCP
};

/// RFC 6455: the example's key and the answer to it, then binary messages of
/// one frame, masked with zeros.
pub(super) const WEBSOCKET: Wire = Wire {
    connect: |place, peer| {
        let mut socket = connect(place, peer)?;
        let hello = b"GET / HTTP/1.1\r\nHost: lab\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        let answer = socket.ask(hello, |answer| answer.ends_with(b"\r\n\r\n"))?;
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "the receiver does not speak WebSocket");
        Ok(socket)
    },
    frame: |_, body| {
        const FINAL_BINARY: u8 = 0x82;
        const MASKED: u8 = 0x80;
        let length = match body.len() {
            short @ 0..126 => vec![MASKED | short as u8],
            middle @ 126..=0xffff => [&[MASKED | 126][..], &(middle as u16).to_be_bytes()].concat(),
            long => [&[MASKED | 127][..], &(long as u64).to_be_bytes()].concat(),
        };
        Frame::new([&[FINAL_BINARY], &length[..], &[0; 4], body].concat())
    },
    receive: |place| {
        let greet = |socket: &mut Socket| {
            socket.ask(b"", |hello| hello.ends_with(b"\r\n\r\n"))?;
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            socket.ask(answer, |_| true).map(|_| ())
        };
        Ok(Source::Listening(Listener::tcp(place)?, greet))
    },
    ..TCP
};

/// ZMTP 3.0 with the NULL mechanism: PUSH to PULL.
pub(super) const ZEROMQ: Wire = Wire {
    connect: |place, peer| {
        let mut socket = connect(place, peer)?;
        zmtp(&mut socket, "PUSH")?;
        Ok(socket)
    },
    frame: |_, body| {
        let head = match u8::try_from(body.len()) {
            Ok(short) => vec![0, short],
            Err(_) => [&[2][..], &(body.len() as u64).to_be_bytes()].concat(),
        };
        Frame::new([&head, body].concat())
    },
    receive: |place: &Place| Ok(Source::Listening(Listener::tcp(place)?, |socket| zmtp(socket, "PULL"))),
    ..TCP
};

/// Both sides say the same: a greeting of 64 bytes, then a READY command.
fn zmtp(socket: &mut Socket, kind: &str) -> Result<()> {
    const GREETING: usize = 64;
    let mut hello = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0];
    hello.extend_from_slice(b"NULL");
    hello.resize(GREETING, 0);
    let property = [&[11][..], b"Socket-Type", &(kind.len() as u32).to_be_bytes(), kind.as_bytes()].concat();
    let ready = [&[5][..], b"READY", &property].concat();
    hello.extend_from_slice(&[4, ready.len() as u8]);
    hello.extend_from_slice(&ready);
    // READY is a short command: flags, one byte of length, and as much.
    socket.ask(&hello, |answer| {
        answer.get(GREETING + 1).is_some_and(|length| answer.len() >= GREETING + 2 + usize::from(*length))
    })?;
    Ok(())
}
