//! Redis baselines: a channel, and a stream.

use anyhow::{Result, ensure};
use labs::lab::{Login, Place};
use labs::printable::printable_bytes;

use super::frame::Frame;
use super::socket::{Socket, Source};
use super::wire::{Wire, nothing};

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        text.extend_from_slice(word);
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn line(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n")
}

fn connect(place: &Place) -> Result<Socket> {
    let address = place.broker()?;
    let mut socket = match address.unix() {
        Some(path) => Socket::connect(&format!("unix:{}", path.display()))?,
        None => Socket::to_broker(place, "redis")?.0,
    };
    if let Some((user, Some(password))) = address.login().map(Login::reveal) {
        let auth: &[&[u8]] = match user {
            "" => &[b"AUTH", password.as_bytes()],
            user => &[b"AUTH", user.as_bytes(), password.as_bytes()],
        };
        let answer = socket.ask(&command(auth), line)?;
        ensure!(answer.starts_with(b"+OK"), "Redis refuses the login");
    }
    if address.database() > 0 {
        let number = address.database().to_string();
        let answer = socket.ask(&command(&[b"SELECT", number.as_bytes()]), line)?;
        ensure!(answer.starts_with(b"+OK"), "Redis has no database {number}");
    }
    Ok(socket)
}

/// A connection on which nothing is answered.
fn silent(place: &Place) -> Result<Socket> {
    let mut socket = connect(place)?;
    socket.ask(&command(&[b"CLIENT", b"REPLY", b"OFF"]), |_| true)?;
    Ok(socket)
}

pub(super) const CHANNEL: Wire = Wire {
    connect: |place, _| silent(place),
    frame: |place, body| Frame::new(command(&[b"PUBLISH", place.name().as_bytes(), body])),
    receive: |place| {
        let mut socket = connect(place)?;
        socket
            .ask(&command(&[b"SUBSCRIBE", place.name().as_bytes()]), |answer| answer.ends_with(b":1\r\n"))?;
        Ok(Source::Open(socket))
    },
    answer: None,
    even: false,
    remove: nothing,
};

pub(super) const STREAM: Wire = Wire {
    frame: |place, body| {
        let name = place.name();
        Frame::new(command(&[b"XADD", name.as_bytes(), b"MAXLEN", b"~", b"100000", b"*", b"b", body]))
    },
    receive: |place| {
        let (mut socket, name) = (connect(place)?, place.name());
        let key = name.as_bytes();
        let made = socket.ask(&command(&[b"XGROUP", b"CREATE", key, b"floor", b"$", b"MKSTREAM"]), line)?;
        ensure!(
            made.starts_with(b"+OK"),
            "Redis refuses to create the consumer group: {}",
            printable_bytes(&made)
        );
        let read: [&[u8]; 12] = [
            b"XREADGROUP",
            b"GROUP",
            b"floor",
            b"one",
            b"COUNT",
            b"1000",
            b"BLOCK",
            b"0",
            b"NOACK",
            b"STREAMS",
            key,
            b">",
        ];
        Ok(Source::Asking(socket, command(&read)))
    },
    remove: |place, _| {
        connect(place)?.ask(&command(&[b"DEL", place.name().as_bytes()]), line)?;
        Ok(())
    },
    ..CHANNEL
};

/// Counts whole replies as their bytes go by.
#[derive(Default)]
pub(super) struct Replies {
    /// Elements that are still to come of the reply that has begun.
    open: u64,
    /// Bytes of a bulk string that are still to come.
    skip: usize,
    line: Vec<u8>,
}

impl Replies {
    pub(super) fn feed(&mut self, mut data: &[u8]) -> u64 {
        let mut whole = 0;
        while !data.is_empty() {
            if self.skip > 0 {
                let now = self.skip.min(data.len());
                data = &data[now..];
                self.skip -= now;
                if self.skip > 0 {
                    break;
                }
                whole += self.element(0);
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', data) else {
                self.line.extend_from_slice(data);
                break;
            };
            self.line.extend_from_slice(&data[..end]);
            data = &data[end + 1..];
            let line = std::mem::take(&mut self.line);
            let number = || std::str::from_utf8(line.get(1..)?).ok()?.trim().parse::<i64>().ok();
            match (line.first(), number()) {
                (Some(b'$'), Some(length @ 0..)) => self.skip = length as usize + 2,
                (Some(b'*'), Some(count @ 0..)) => whole += self.element(count as u64),
                _ => whole += self.element(0),
            }
        }
        whole
    }

    /// Counts an element that has this many elements of its own; 1 if that was the last.
    fn element(&mut self, inside: u64) -> u64 {
        self.open = (self.open.max(1) - 1).saturating_add(inside);
        u64::from(self.open == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let two =
            b"*1\r\n*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nb\r\n$4\r\na\r\nb\r\n*-1\r\n";
        for cut in 0..two.len() {
            let mut replies = Replies::default();
            let whole = replies.feed(&two[..cut]) + replies.feed(&two[cut..]);
            assert_eq!(whole, 2, "cut at {cut}");
        }
        let mut replies = Replies::default();
        assert_eq!(two.iter().map(|byte| replies.feed(&[*byte])).sum::<u64>(), 2, "byte by byte");
    }

    #[test]
    fn fuzz_baseline_redis() {
        let seeds = [
            &b"*1\r\n*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nb\r\n$4\r\na\r\nb\r\n"[..],
            b"*-1\r\n+OK\r\n$-1\r\n$0\r\n\r\n",
        ];
        fuzz::Target::new("baseline_redis").seeds(seeds).run(|input| {
            let whole = fuzz::same_in_pieces(input, |pieces| {
                let mut replies = Replies::default();
                pieces.map(|piece| replies.feed(piece)).sum::<u64>()
            });
            whole > 0
        });
    }
}
