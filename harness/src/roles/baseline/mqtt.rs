//! MQTT 3.1.1 baseline, QoS 0.

use anyhow::{Result, ensure};
use labs::lab::Place;

use super::frame::Frame;
use super::socket::{Socket, Source};
use super::wire::{Wire, nothing};

/// A packet: type and flags, the remaining length in groups of seven bits, the rest.
fn packet(head: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let (mut packet, mut length) = (vec![head], rest.len());
    loop {
        let more = length > 0x7f;
        packet.push((length & 0x7f) as u8 | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend_from_slice(&rest);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn connect(place: &Place, side: &str) -> Result<Socket> {
    let (mut socket, (user, password)) = Socket::to_broker(place, "mqtt")?;
    const CLEAN_SESSION: u8 = 0x02;
    let (mut flags, mut login) = (CLEAN_SESSION, Vec::new());
    for (part, flag) in [(user, 0x80), (password, 0x40)] {
        if !part.is_empty() {
            flags |= flag;
            login.extend(text(&part));
        }
    }
    let name = text(&format!("{}-{side}", place.name()));
    let rest = [&text("MQTT")[..], &[4, flags, 0, 0], &name, &login].concat();
    let answer = socket.ask(&packet(0x10, &[&rest]), |answer| answer.len() >= 4)?;
    ensure!(answer[..2] == [0x20, 2] && answer[3] == 0, "the MQTT broker refuses the connection: {answer:?}");
    Ok(socket)
}

pub(super) const TOPIC: Wire = Wire {
    connect: |place, _| connect(place, "out"),
    frame: |place, body| Frame::new(packet(0x30, &[&text(&place.name()), body])),
    receive: |place| {
        let mut socket = connect(place, "in")?;
        let subscribe = packet(0x82, &[&[0, 1], &text(&place.name()), &[0]]);
        let answer = socket.ask(&subscribe, |answer| answer.len() >= 5)?;
        ensure!(answer[0] == 0x90 && answer[4] == 0, "the MQTT broker refuses the subscription: {answer:?}");
        Ok(Source::Open(socket))
    },
    answer: None,
    even: false,
    remove: nothing,
};
