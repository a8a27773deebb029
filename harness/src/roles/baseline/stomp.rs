//! STOMP 1.2 baseline through RabbitMQ: a topic, with automatic acknowledgements.

use anyhow::{Result, ensure};
use labs::lab::Place;
use labs::printable::printable_bytes;

use super::frame::Frame;
use super::socket::{Socket, Source};
use super::wire::{Wire, nothing};

/// A frame without a body.
fn frame(command: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{command}\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str("\n\0");
    text.into_bytes()
}

fn whole(answer: &[u8]) -> bool {
    answer.contains(&0)
}

fn connect(place: &Place) -> Result<Socket> {
    let (mut socket, (user, password)) = Socket::to_broker(place, "stomp")?;
    let headers = [
        ("accept-version", "1.2"),
        ("host", place.broker()?.vhost()),
        ("login", &*user),
        ("passcode", &*password),
        ("heart-beat", "0,0"),
    ];
    let answer = socket.ask(&frame("CONNECT", &headers), whole)?;
    ensure!(
        answer.starts_with(b"CONNECTED"),
        "the broker refuses the STOMP connection: {}",
        printable_bytes(&answer)
    );
    Ok(socket)
}

fn topic(place: &Place) -> String {
    format!("/topic/{}", place.name())
}

pub(super) const TOPIC: Wire = Wire {
    connect: |place, _| connect(place),
    frame: |place, body| {
        let head = format!("SEND\ndestination:{}\ncontent-length:{}\n\n", topic(place), body.len());
        Frame::new([head.as_bytes(), body, b"\0"].concat())
    },
    receive: |place| {
        let mut socket = connect(place)?;
        let headers = [("destination", &*topic(place)), ("id", "0"), ("ack", "auto"), ("receipt", "in")];
        let answer = socket.ask(&frame("SUBSCRIBE", &headers), whole)?;
        let answer = printable_bytes(&answer);
        ensure!(
            answer.trim_start_matches("\\n").starts_with("RECEIPT"),
            "the broker refuses the STOMP subscription: {answer}"
        );
        Ok(Source::Open(socket))
    },
    answer: None,
    even: false,
    remove: nothing,
};
