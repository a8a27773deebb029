//! The 32 bytes in front of every measured message: who sent it, which one it
//! is, when it was due, and a checksum over all of it: CRC-32C of the payload
//! and then of the header, in which the checksum itself counts as zero. In this
//! order, because the payload stays the same from message to message and the
//! header does not.

use bytes::{Bytes, BytesMut};

/// Length of the header, bytes. It is part of the declared message size.
pub const HEADER: usize = 32;

/// Sequence number of a probe: sent before the start, to see who listens.
pub const PROBE: u64 = u64::MAX;
/// Sequence number of a marker: sent after the last message. On transports
/// that keep order, what has not come before it will not come any more.
pub const MARKER: u64 = u64::MAX - 1;

const CHECKSUM_AT: usize = 28;
const WORD: usize = 8;
/// Longest payload that is worth copying before it is summed, bytes.
const SHORT: usize = 96;
/// Messages are cut from chunks of this many bytes, to save an allocation each.
const CHUNK: usize = 64 << 10;

/// Bytes that can be read as words: a checksum over the odd bytes before and
/// after the first and last whole word takes longer than over the words.
#[repr(align(8))]
struct Aligned<const LENGTH: usize>([u8; LENGTH]);

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The run; a message of another one has lost its way.
    pub run: u32,
    /// The sender's number.
    pub producer: u32,
    /// 0, 1, 2 … for each sender.
    pub sequence: u64,
    /// When it was due, ns of CLOCK_MONOTONIC.
    pub scheduled: u64,
    /// How much later than that it was sent, ns; saturates at 4.29 s.
    pub lag: u32,
}

impl Header {
    /// When it was sent, ns.
    pub fn sent(&self) -> u64 {
        self.scheduled.saturating_add(u64::from(self.lag))
    }

    /// Writes the header into the first 32 bytes of `message` and the checksum
    /// of everything.
    ///
    /// # Panics
    /// If the message is shorter than the header.
    #[inline]
    pub fn write(&self, message: &mut [u8]) {
        let payload = crc32c::crc32c(&message[HEADER..]);
        self.write_before(payload, message);
    }

    /// As [`Header::write`], where the payload's checksum is known. All of it goes
    /// word by word: bytes that have just been written in small pieces and are read
    /// in large ones make the processor wait, for 10 ns here.
    #[inline]
    fn write_before(&self, payload: u32, message: &mut [u8]) {
        let ids = u64::from(self.run) | u64::from(self.producer) << 32;
        let mut words = [ids, self.sequence, self.scheduled, u64::from(self.lag)];
        let mut header = Aligned([0; HEADER]);
        write_words(&mut header.0, words);
        words[3] |= u64::from(crc32c::crc32c_append(payload, &header.0)) << 32;
        write_words(&mut message[..HEADER], words);
    }

    /// Reads the header; `None` if the message is too short or the checksum
    /// is wrong.
    #[inline]
    pub fn read(message: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = message.first_chunk()?;
        let [.., a, b, c, d] = *header;
        (u32::from_le_bytes([a, b, c, d]) == checksum(header, &message[HEADER..])).then(|| Self::of(header))
    }

    /// Reads the header without a look at the checksum, for those who pass a
    /// message on: whoever receives it in the end checks it.
    #[inline]
    pub fn unchecked(message: &[u8]) -> Option<Self> {
        message.first_chunk().map(Self::of)
    }

    #[inline]
    fn of(header: &[u8; HEADER]) -> Self {
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        Self { run: number(0), producer: number(4), sequence: long(8), scheduled: long(16), lag: number(24) }
    }
}

impl Header {
    /// The sequence number that a message claims, unchecked; 0 where there is none.
    #[inline]
    pub fn peek(message: &[u8]) -> u64 {
        message.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }
}

#[inline]
fn write_words(bytes: &mut [u8], words: [u64; HEADER / WORD]) {
    for (bytes, word) in bytes.chunks_exact_mut(WORD).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
}

/// What the checksum of these should be. Short messages are put in a row first:
/// one sum over words takes half the time of two over whatever lies where it lies.
#[inline]
fn checksum(header: &[u8; HEADER], payload: &[u8]) -> u32 {
    let length = payload.len();
    if length <= SHORT {
        let mut row = Aligned([0; SHORT + HEADER]);
        row.0[..length].copy_from_slice(payload);
        row.0[length..length + CHECKSUM_AT].copy_from_slice(&header[..CHECKSUM_AT]);
        return crc32c::crc32c(&row.0[..length + HEADER]);
    }
    let mut header = Aligned(*header);
    header.0[CHECKSUM_AT..].fill(0);
    crc32c::crc32c_append(crc32c::crc32c(payload), &header.0)
}

/// Makes messages of one size.
pub struct MessageBuilder {
    blank: Vec<u8>,
    /// Checksum of the payload, the same for all of them.
    payload: u32,
    /// Messages that lack their headers.
    chunk: BytesMut,
}

impl MessageBuilder {
    /// Messages of `size` bytes, header included; the caller has checked that
    /// the header fits. The payload is a fixed pattern that does not compress
    /// to nothing.
    pub fn new(size: usize) -> Self {
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        let blank = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (noise >> 56) as u8
        });
        let blank: Vec<u8> = blank.take(size.max(HEADER)).collect();
        Self { payload: crc32c::crc32c(&blank[HEADER..]), blank, chunk: BytesMut::new() }
    }

    /// The next message.
    #[inline]
    pub fn message(&mut self, header: &Header) -> Bytes {
        if self.chunk.is_empty() {
            self.fill();
        }
        let mut message = self.chunk.split_to(self.blank.len());
        header.write_before(self.payload, &mut message);
        message.freeze()
    }

    #[cold]
    fn fill(&mut self) {
        let messages = (CHUNK / self.blank.len()).max(1);
        self.chunk.reserve(messages * self.blank.len());
        for _ in 0..messages {
            self.chunk.extend_from_slice(&self.blank);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            run: u32, producer: u32, sequence: u64, scheduled: u64, lag: u32, size in HEADER..400,
        ) {
            let header = Header { run, producer, sequence, scheduled, lag };
            let message = MessageBuilder::new(size).message(&header);
            prop_assert_eq!(message.len(), size);
            prop_assert_eq!(Header::read(&message), Some(header));
            prop_assert_eq!(Header::unchecked(&message), Some(header));
        }

        #[test]
        fn any_changed_bit_is_noticed(size in HEADER..200, at: prop::sample::Index, bit in 0..8) {
            let header = Header { run: 1, producer: 2, sequence: 3, scheduled: 4, lag: 5 };
            let mut message = MessageBuilder::new(size).message(&header).to_vec();
            let at = at.index(message.len());
            message[at] ^= 1_u8 << bit;
            prop_assert_eq!(Header::read(&message), None);
        }
    }

    #[test]
    fn a_cut_message_is_noticed() {
        let header = Header { run: 1, producer: 2, sequence: 3, scheduled: 4, lag: 5 };
        let message = MessageBuilder::new(64).message(&header);
        assert!((0..64).all(|len| Header::read(&message[..len]).is_none()));
    }

    /// A message whose checksum is right was made by somebody, who may have written any number.
    #[test]
    fn fuzz_headers() {
        let header = Header { run: 1, producer: 2, sequence: 3, scheduled: 4, lag: 5 };
        let seeds = [32, 33, 100, 300].map(|size| MessageBuilder::new(size).message(&header));
        fuzz::Target::new("headers").seeds(seeds).run(|input| {
            let read = (Header::read(input), Header::unchecked(input));
            assert!(read.0.is_none() || read.0 == read.1);
            let mut message = input.to_vec();
            let Some(first) = message.first_chunk::<HEADER>() else { return false };
            let sum = checksum(first, &message[HEADER..]);
            message[CHECKSUM_AT..HEADER].copy_from_slice(&sum.to_le_bytes());
            let header = Header::read(&message).expect("the checksum is right");
            assert_eq!(header.sequence, Header::peek(&message));
            let again = [&[0; HEADER][..], &message[HEADER..]].concat();
            let mut again = again;
            header.write(&mut again);
            assert_eq!(again, message);
            header.sent() >= header.scheduled
        });
    }
}
