//! AMQP 0-9-1 baseline: an exclusive queue of the receiver, without acknowledgements.

use anyhow::{Context, Result, ensure};
use labs::lab::Place;
use labs::printable::printable_bytes;

use super::frame::Frame;
use super::socket::{Socket, Source};
use super::wire::{Wire, nothing};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const END: u8 = 0xce;
/// Bytes of a body in one frame: RabbitMQ's usual limit for frames, less head and end.
const CHUNK: usize = 131_072 - 8;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let (channel, length) = (channel.to_be_bytes(), (payload.len() as u32).to_be_bytes());
    [&[kind][..], &channel, &length, payload, &[END]].concat()
}

/// A method's numbers and arguments.
fn method(channel: u16, class: u16, number: u16, arguments: &[&[u8]]) -> Vec<u8> {
    frame(METHOD, channel, &[&class.to_be_bytes()[..], &number.to_be_bytes(), &arguments.concat()].concat())
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

/// Asks, and expects one method in answer; its arguments.
fn call(socket: &mut Socket, question: &[u8], class: u16, number: u16) -> Result<Vec<u8>> {
    let whole = |answer: &[u8]| {
        answer.get(3..7).is_some_and(|length| {
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            answer.len() > 7 + length
        })
    };
    let answer = socket.ask(question, whole)?;
    let wanted = [class.to_be_bytes(), number.to_be_bytes()].concat();
    ensure!(
        answer.get(7..11) == Some(&wanted[..]),
        "AMQP: {class}.{number} was expected, but {} arrived",
        printable_bytes(&answer)
    );
    Ok(answer[11..].to_vec())
}

fn connect(place: &Place) -> Result<Socket> {
    let (mut socket, (user, password)) = Socket::to_broker(place, "amqp")?;
    call(&mut socket, b"AMQP\x00\x00\x09\x01", 10, 10)?;
    let secret = format!("\0{user}\0{password}");
    let start_ok = method(
        0,
        10,
        11,
        &[&[0; 4], &short("PLAIN"), &(secret.len() as u32).to_be_bytes(), secret.as_bytes(), &short("en_US")],
    );
    let tune = call(&mut socket, &start_ok, 10, 30)?;
    // The server's own limits; no heartbeat.
    let limits = tune.get(..6).context("AMQP: a short tune")?;
    let tune_ok = method(0, 10, 31, &[limits, &[0, 0]]);
    let open = method(0, 10, 40, &[&short(place.broker()?.vhost()), &short(""), &[0]]);
    call(&mut socket, &[tune_ok, open].concat(), 10, 41)?;
    call(&mut socket, &method(1, 20, 10, &[&short("")]), 20, 11)?;
    Ok(socket)
}

pub(super) const QUEUE: Wire = Wire {
    connect: |place, _| connect(place),
    frame: |place, body| {
        let mut bytes = method(1, 60, 40, &[&[0, 0], &short(""), &short(&place.name()), &[0]]);
        let header =
            [&60u16.to_be_bytes()[..], &[0, 0], &(body.len() as u64).to_be_bytes(), &[0, 0]].concat();
        bytes.extend(frame(HEADER, 1, &header));
        for chunk in body.chunks(CHUNK) {
            bytes.extend(frame(BODY, 1, chunk));
        }
        Frame::new(bytes)
    },
    receive: |place| {
        let mut socket = connect(place)?;
        const EXCLUSIVE_AND_AUTO_DELETE: u8 = 12;
        const NO_ACK: u8 = 2;
        let (queue, no_table) = (short(&place.name()), [0; 4]);
        let declare = method(1, 50, 10, &[&[0, 0], &queue, &[EXCLUSIVE_AND_AUTO_DELETE], &no_table]);
        call(&mut socket, &declare, 50, 11)?;
        let consume = method(1, 60, 20, &[&[0, 0], &queue, &short("floor"), &[NO_ACK], &no_table]);
        call(&mut socket, &consume, 60, 21)?;
        Ok(Source::Open(socket))
    },
    answer: None,
    even: false,
    remove: nothing,
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn fuzz_baseline_amqp() {
        let tune = method(0, 10, 30, &[&[7, 255, 0, 2, 0, 0, 0, 60]]);
        fuzz::Target::new("baseline_amqp").seed(&tune).run(|input| {
            let (mut near, far) = UnixStream::pair().expect("a pair");
            near.write_all(input).expect("it fits into the socket");
            drop(near);
            // The question cannot be written any more, and none has to be.
            let Ok(arguments) = call(&mut Socket::Unix(far), b"", 10, 30) else { return false };
            // More may follow them.
            assert!(memchr::memmem::find(input, &arguments).is_some());
            true
        });
    }
}
