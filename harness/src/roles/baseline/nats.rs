//! NATS baselines: a subject, and a JetStream stream with a consumer that acknowledges
//! nothing.

use anyhow::{Result, ensure};
use labs::lab::{Login, Place};
use labs::printable::printable_bytes;
use serde_json::json;

use super::frame::Frame;
use super::socket::{Socket, Source};
use super::wire::{Wire, nothing};

fn connect(place: &Place) -> Result<Socket> {
    let (mut socket, _) = Socket::to_broker(place, "nats")?;
    socket.ask(b"", |answer| answer.ends_with(b"\r\n"))?;
    let mut options = json!({ "verbose": false, "pedantic": false, "lang": "none", "version": "0" });
    match place.broker()?.login().map(Login::reveal) {
        Some((token, None)) => options["auth_token"] = token.into(),
        Some((user, Some(password))) => {
            options["user"] = user.into();
            options["pass"] = password.into();
        }
        None => {}
    }
    let answer = socket
        .ask(format!("CONNECT {options}\r\nPING\r\n").as_bytes(), |answer| answer.ends_with(b"\r\n"))?;
    ensure!(answer.starts_with(b"PONG"), "NATS refuses: {}", printable_bytes(&answer));
    Ok(socket)
}

/// Asks JetStream for something; the answer is one message.
fn api(socket: &mut Socket, what: &str, question: &serde_json::Value) -> Result<()> {
    let (inbox, question) = ("_INBOX.baseline", question.to_string());
    let text = format!(
        "SUB {inbox} 9\r\nUNSUB 9 1\r\nPUB $JS.API.{what} {inbox} {}\r\n{question}\r\n",
        question.len()
    );
    let answer = socket.ask(text.as_bytes(), |answer| answer.ends_with(b"}\r\n"))?;
    let answer = printable_bytes(&answer);
    ensure!(!answer.contains("\"error\""), "JetStream refuses {what}: {answer}");
    Ok(())
}

fn publish(place: &Place, body: &[u8]) -> Frame {
    let head = format!("PUB {} {}\r\n", place.name(), body.len());
    Frame::new([head.as_bytes(), body, b"\r\n"].concat())
}

/// Subscribes and makes sure that it is done.
fn subscribe(socket: &mut Socket, subject: &str) -> Result<()> {
    socket.ask(format!("SUB {subject} 1\r\nPING\r\n").as_bytes(), |answer| answer.ends_with(b"PONG\r\n"))?;
    Ok(())
}

pub(super) const SUBJECT: Wire = Wire {
    connect: |place, _| connect(place),
    frame: publish,
    receive: |place| {
        let mut socket = connect(place)?;
        subscribe(&mut socket, &place.name())?;
        Ok(Source::Open(socket))
    },
    answer: None,
    even: false,
    remove: nothing,
};

pub(super) const STREAM: Wire = Wire {
    receive: |place| {
        let (mut socket, name) = (connect(place)?, place.name());
        let stream = json!({
            "name": name, "subjects": [name], "storage": "file", "retention": "limits", "discard": "old",
            "max_msgs": 1_000_000, "num_replicas": 1,
        });
        api(&mut socket, &format!("STREAM.CREATE.{name}"), &stream)?;
        let deliver = format!("_INBOX.{name}");
        subscribe(&mut socket, &deliver)?;
        let consumer = json!({ "stream_name": name, "config": {
            "deliver_subject": deliver, "ack_policy": "none", "deliver_policy": "new", "replay_policy": "instant",
        } });
        api(&mut socket, &format!("CONSUMER.CREATE.{name}"), &consumer)?;
        Ok(Source::Open(socket))
    },
    remove: |place, _| {
        // A stream that was never made is gone as well.
        let _ = api(&mut connect(place)?, &format!("STREAM.DELETE.{}", place.name()), &json!({}));
        Ok(())
    },
    ..SUBJECT
};
