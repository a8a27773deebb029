//! What a user types, or pipes in, for a role: lines of bytes, and what a role does with each.

use std::io::{BufRead, ErrorKind, Read as _};

use labs::topic::Topic;
use tokio::sync::mpsc;

use crate::roles::protocol::{Kind, RoleCommand, What};

/// The longest line, bytes: what the labs' own frames can hold.
pub(super) const MOST_LINE: usize = 16 << 20;
/// Commands that may be under way before the next line is read, and their bytes.
const MOST_OPEN: usize = 256;
const MOST_BYTES: usize = 16 << 20;

/// A line of the standard input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Its bytes, without the end of the line.
    Line(Vec<u8>),
    /// It is longer than [`MOST_LINE`], and was skipped.
    TooLong,
    /// The input cannot be read any more.
    Broken(String),
}

/// Reads the standard input on a thread of its own. It is not ahead of its reader by more
/// than two lines.
pub(super) fn lines() -> mpsc::Receiver<Typed> {
    let (typed, lines) = mpsc::channel(1);
    std::thread::spawn(move || read(&mut std::io::stdin().lock(), |line| typed.blocking_send(line).is_ok()));
    lines
}

fn read(input: &mut impl BufRead, mut take: impl FnMut(Typed) -> bool) {
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(MOST_LINE as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if line.len() > MOST_LINE && line.last() != Some(&b'\n') => {
                if !take(Typed::TooLong) || !skip_line(input) {
                    return;
                }
            }
            Ok(_) => {
                line.pop_if(|last| *last == b'\n').and_then(|_| line.pop_if(|last| *last == b'\r'));
                if !take(Typed::Line(line)) {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                take(Typed::Broken(error.to_string()));
                return;
            }
        }
    }
}

/// Skips the rest of a line; `false` at the end of the input.
fn skip_line(input: &mut impl BufRead) -> bool {
    loop {
        let (used, ended) = match input.fill_buf() {
            Ok([]) => return false,
            Ok(buffer) => match memchr::memchr(b'\n', buffer) {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => (0, false),
            Err(_) => return false,
        };
        input.consume(used);
        if ended {
            return true;
        }
    }
}

/// What a role does with a line, or what the user should type instead.
pub(super) fn command(kind: Kind, line: &[u8]) -> Result<RoleCommand, String> {
    let say = |text: &[u8], topic: Option<&str>| RoleCommand::Say {
        text: text.to_vec().into(),
        topic: topic.map(str::to_owned),
    };
    Ok(match kind {
        Kind::Receiver | Kind::Subscriber => return Err(format!("a {kind} only receives; Ctrl-C ends it")),
        Kind::Responder => RoleCommand::Reply { text: line.to_vec().into() },
        Kind::Worker | Kind::Consumer => match line.trim_ascii() {
            b"ack" => RoleCommand::Ack,
            b"nack" | b"nak" => RoleCommand::Nack,
            _ => return Err("type `ack` to settle the oldest delivery, or `nack` to give it back".to_owned()),
        },
        Kind::Publisher if line.starts_with(b": ") => say(&line[2..], None),
        Kind::Publisher => match memchr::memmem::find(line, b": ") {
            Some(at) => match std::str::from_utf8(&line[..at]).map_err(|error| error.to_string()) {
                Ok(topic) if Topic::new(topic).is_ok() => say(&line[at + 2..], Some(topic)),
                Ok(topic) => {
                    let why = Topic::new(topic).err().map(|error| error.to_string()).unwrap_or_default();
                    return Err(format!(
                        "not published: {why}; type `TOPIC: TEXT`, or `: TEXT` without a topic"
                    ));
                }
                Err(why) => return Err(format!("not published: the topic is not text ({why})")),
            },
            None => say(line, None),
        },
        _ => say(line, None),
    })
}

/// The commands that a role was given and has not carried out.
#[derive(Debug, Default)]
pub(super) struct Open {
    sizes: std::collections::VecDeque<usize>,
    bytes: usize,
}

impl Open {
    pub(super) fn begin(&mut self, size: usize) {
        self.sizes.push_back(size);
        self.bytes += size;
    }

    /// Something happened to a role of this kind: whether it carried out a command.
    pub(super) fn note(&mut self, kind: Kind, what: What) {
        let done = match kind {
            Kind::Requester | Kind::Responder => what == What::Replied,
            Kind::Worker | Kind::Consumer => matches!(what, What::Acked | What::Nacked | What::Finished),
            _ => matches!(what, What::Written | What::Confirmed),
        };
        if done || what == What::Failed {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
    }

    /// Whether one more line may be read.
    pub(super) fn has_room(&self) -> bool {
        self.sizes.len() < MOST_OPEN && self.bytes < MOST_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8]) -> Vec<Typed> {
        let mut lines = Vec::new();
        // Little at once, where there is little.
        let mut input = std::io::BufReader::with_capacity(if input.len() < 100 { 7 } else { 8192 }, input);
        read(&mut input, |line| {
            lines.push(line);
            true
        });
        lines
    }

    #[test]
    fn a_line_is_bytes_whatever_they_are() {
        let line = |bytes: &[u8]| Typed::Line(bytes.to_vec());
        let cases: [(&[u8], Vec<Typed>); 6] = [
            (b"", vec![]),
            (b"one\ncaf\xe9\nthree\n", vec![line(b"one"), line(b"caf\xe9"), line(b"three")]),
            (b"one\r\ntwo", vec![line(b"one"), line(b"two")]),
            (b"\n\n", vec![line(b""), line(b"")]),
            (b"\xff\xfe\x00\n", vec![line(b"\xff\xfe\x00")]),
            (b"a\rb\n\r\r\n", vec![line(b"a\rb"), line(b"\r")]),
        ];
        for (input, expected) in cases {
            assert_eq!(all(input), expected, "{input:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_told() {
        let line = |bytes: &[u8]| Typed::Line(bytes.to_vec());
        let input = [&vec![b'x'; MOST_LINE + 5][..], b"\nnext\n"].concat();
        assert_eq!(all(&input), [Typed::TooLong, line(b"next")]);
        let longest = [&vec![b'x'; MOST_LINE][..], b"\nnext"].concat();
        assert_eq!(all(&longest), [line(&vec![b'x'; MOST_LINE]), line(b"next")]);
        assert_eq!(all(&vec![b'x'; 2 * MOST_LINE]), [Typed::TooLong]);
    }

    #[test]
    fn only_ack_acknowledges() {
        for kind in [Kind::Consumer, Kind::Worker] {
            for (line, expected) in [
                ("ack", Some(RoleCommand::Ack)),
                (" ack ", Some(RoleCommand::Ack)),
                ("nack", Some(RoleCommand::Nack)),
                ("nak", Some(RoleCommand::Nack)),
                ("", None),
                ("what?", None),
                ("acknowledge", None),
                ("ACK", None),
            ] {
                assert_eq!(command(kind, line.as_bytes()).ok(), expected, "{line}");
            }
        }
        assert!(command(Kind::Consumer, b"\xff").is_err_and(|told| told.contains("type `ack`")));
    }

    #[test]
    fn a_publisher_is_told_what_is_wrong_with_a_topic() {
        let say = |text: &[u8], topic: Option<&str>| {
            Some(RoleCommand::Say { text: text.to_vec().into(), topic: topic.map(str::to_owned) })
        };
        for (line, expected) in [
            (&b"hello"[..], say(b"hello", None)),
            (b"weather.oslo: caf\xe9", say(b"caf\xe9", Some("weather.oslo"))),
            (b": 12: 30", say(b"12: 30", None)),
            (b"caf\xe9: hello", None),
            (b"two words: hello", None),
        ] {
            assert_eq!(command(Kind::Publisher, line).ok(), expected, "{line:?}");
        }
    }

    #[test]
    fn reading_stops_while_too_much_is_open() {
        let mut open = Open::default();
        (0..MOST_OPEN).for_each(|_| open.begin(1));
        assert!(!open.has_room());
        open.note(Kind::Requester, What::Requested);
        assert!(!open.has_room(), "a question is open until it is answered");
        open.note(Kind::Requester, What::Replied);
        assert!(open.has_room());
        let mut open = Open::default();
        open.begin(MOST_BYTES);
        assert!(!open.has_room());
        open.note(Kind::Sender, What::Failed);
        assert!(open.has_room() && open.is_empty());
    }
}
