//! The messages of a baseline: a mark, the time in digits, and padding.

use std::io::{self, Read as _};
use std::str;

use memchr::memmem;

use super::socket::Socket;

const MARK: &[u8] = b"LABFLOOR";
/// A time in ns, in hexadecimal: text, so that every protocol carries it.
const DIGITS: usize = 16;
const TIMED: usize = MARK.len() + DIGITS;
/// Bytes asked of the kernel in one read.
const READ: usize = 256 << 10;

/// The body of a message of this size.
pub(super) fn body(size: usize) -> Vec<u8> {
    let mut body = [MARK, &[b'0'; DIGITS]].concat();
    body.resize(size.max(TIMED), b'.');
    body
}

/// One message as it goes over the wire.
pub(super) struct Frame {
    bytes: Vec<u8>,
    time_at: usize,
}

impl Frame {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let time_at = memmem::find(&bytes, MARK).map_or(0, |at| at + MARK.len());
        Self { bytes, time_at }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The message that was due at this time.
    pub(super) fn due(&mut self, time: u64) -> &[u8] {
        let digits = &mut self.bytes[self.time_at..self.time_at + DIGITS];
        for (index, digit) in digits.iter_mut().enumerate() {
            let nibble = (time >> (4 * (DIGITS - 1 - index))) & 0xf;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        &self.bytes
    }

    /// This many messages in a row.
    pub(super) fn repeated(&self, count: usize) -> Vec<u8> {
        self.bytes.repeat(count)
    }
}

/// Finds messages in the bytes read.
pub(super) struct Scanner {
    buffer: Vec<u8>,
    /// Bytes at the front that may be the beginning of a mark.
    held: usize,
    /// The length of a frame, where only such come and times are not looked for.
    even: Option<usize>,
    finder: memmem::Finder<'static>,
}

impl Scanner {
    pub(super) fn new(even: Option<usize>) -> Self {
        Self { buffer: vec![0; TIMED + READ], held: 0, even, finder: memmem::Finder::new(MARK) }
    }

    /// Reads once; what came, or `None` at the end.
    pub(super) fn read(&mut self, socket: &mut Socket) -> io::Result<Option<&[u8]>> {
        let start = self.held;
        let in_flight_window = if self.even.is_some() { self.buffer.len() } else { start + READ };
        let read = socket.read(&mut self.buffer[start..in_flight_window])?;
        self.held += read;
        Ok((read > 0).then(|| &self.buffer[start..start + read]))
    }

    /// How many messages have come whole since this was last asked, each with
    /// the time it was due; with even frames the times are not looked at.
    pub(super) fn take(&mut self, mut due: impl FnMut(u64)) -> u64 {
        if let Some(length) = self.even {
            // The bytes need not be kept, only how many there are.
            let count = self.held / length;
            self.held -= count * length;
            return count as u64;
        }
        let data = &self.buffer[..self.held];
        let (mut at, mut count) = (0, 0);
        while let Some(found) = self.finder.find(&data[at..]) {
            let Some(digits) = data.get(at + found + MARK.len()..at + found + TIMED) else { break };
            let time = str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            due(time.unwrap_or(0));
            count += 1;
            at += found + TIMED;
        }
        let keep = (self.held - at).min(TIMED - 1);
        self.buffer.copy_within(self.held - keep..self.held, 0);
        self.held = keep;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    proptest! {
        /// Every message is found once, wherever reads cut the stream.
        #[test]
        fn messages_are_found_however_they_are_cut(
            times in prop::collection::vec(any::<u64>(), 0..20),
            cuts in prop::collection::vec(1usize..60, 0..60),
            before in 0usize..9,
        ) {
            let mut frame = Frame::new([vec![b'L'; before], body(40), b"\r\n".to_vec()].concat());
            let mut stream: Vec<u8> = times.iter().flat_map(|time| frame.due(*time).to_vec()).collect();
            let (mut near, far) = UnixStream::pair().expect("a pair");
            let (mut far, mut found) = (Socket::Unix(far), Vec::new());
            let mut scanner = Scanner::new(None);
            let mut even = Scanner::new(Some(frame.len()));
            let mut counted = 0;
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let rest = stream.split_off(cut.min(stream.len()));
                near.write_all(&stream).expect("written");
                if !stream.is_empty() {
                    let read = scanner.read(&mut far).expect("read").expect("not the end").to_vec();
                    prop_assert_eq!(&read, &stream);
                    scanner.take(|time| found.push(time));
                    even.held += read.len();
                    counted += even.take(|_| {});
                }
                stream = rest;
            }
            prop_assert_eq!(counted, times.len() as u64);
            prop_assert_eq!(found, times);
        }
    }

    #[test]
    fn fuzz_baseline_frames() {
        let message = |time: u64| Frame::new(body(40)).due(time).to_vec();
        let seeds = [message(17), [message(u64::MAX), b"\r\nLABF".to_vec(), message(0)].concat()];
        let scanner = std::cell::RefCell::new(Scanner::new(None));
        fuzz::Target::new("baseline_frames").seeds(seeds).run(|input| {
            let (count, times) = fuzz::same_in_pieces(input, |pieces| {
                let (scanner, mut count, mut times) = (&mut *scanner.borrow_mut(), 0, Vec::new());
                scanner.held = 0;
                for piece in pieces {
                    scanner.buffer[scanner.held..scanner.held + piece.len()].copy_from_slice(piece);
                    scanner.held += piece.len();
                    count += scanner.take(|time| times.push(time));
                    assert!(scanner.held < TIMED, "no more is held than the beginning of a message");
                }
                (count, times)
            });
            assert_eq!(count, times.len() as u64);
            count > 0
        });
    }
}
