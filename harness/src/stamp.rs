//! The 32 bytes in front of every measured message: who sent it, which one it
//! is, when it was due, and a checksum over all of it: CRC-32C of the payload
//! and then of the header's first 28 bytes. In this order, because the payload
//! stays the same from message to message and the header does not.

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
/// Messages are cut from chunks of this many bytes, to save an allocation each.
const CHUNK: usize = 64 << 10;

/// The header's bytes, where words can be read at once.
#[repr(align(8))]
struct Header([u8; HEADER]);

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
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

impl Stamp {
    /// When it was sent, ns.
    pub fn sent(&self) -> u64 {
        self.scheduled + u64::from(self.lag)
    }

    /// Writes the header into the first 32 bytes of `message` and the checksum
    /// of everything.
    ///
    /// # Panics
    /// If the message is shorter than the header.
    #[inline]
    pub fn write(&self, message: &mut [u8]) {
        let payload = crc32c::crc32c(&message[HEADER..]);
        message[..HEADER].copy_from_slice(&self.header(payload).0);
    }

    /// The header, in front of a payload with this checksum. It is put together
    /// word by word: bytes that were just written one by one cost a stall when
    /// they are read as a word.
    #[inline]
    fn header(&self, payload: u32) -> Header {
        let ids = u64::from(self.run) | u64::from(self.producer) << 32;
        let mut header = Header([0; HEADER]);
        for (bytes, word) in header.0.chunks_exact_mut(WORD).zip([ids, self.sequence, self.scheduled]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        header.0[3 * WORD..CHECKSUM_AT].copy_from_slice(&self.lag.to_le_bytes());
        let checksum = crc32c::crc32c_append(payload, &header.0[..CHECKSUM_AT]);
        let last = u64::from(self.lag) | u64::from(checksum) << 32;
        header.0[3 * WORD..].copy_from_slice(&last.to_le_bytes());
        header
    }

    /// Reads the header; `None` if the message is too short or the checksum
    /// is wrong.
    #[inline]
    pub fn read(message: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER] = message.first_chunk()?;
        let [.., a, b, c, d] = *header;
        (u32::from_le_bytes([a, b, c, d]) == checksum(message)).then(|| Self::of(header))
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

impl Stamp {
    /// The sequence number that a message claims, unchecked; 0 where there is none.
    #[inline]
    pub fn peek(message: &[u8]) -> u64 {
        message.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }
}

/// CRC-32C of everything but the checksum's own four bytes.
#[inline]
fn checksum(message: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&message[HEADER..]), &message[..CHECKSUM_AT])
}

/// Makes messages of one size.
pub struct Mint {
    blank: Vec<u8>,
    /// Checksum of the payload, the same for all of them.
    payload: u32,
    /// Messages that lack their headers.
    chunk: BytesMut,
}

impl Mint {
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
    pub fn message(&mut self, stamp: &Stamp) -> Bytes {
        if self.chunk.is_empty() {
            self.fill();
        }
        let mut message = self.chunk.split_to(self.blank.len());
        message[..HEADER].copy_from_slice(&stamp.header(self.payload).0);
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
            let stamp = Stamp { run, producer, sequence, scheduled, lag };
            let message = Mint::new(size).message(&stamp);
            prop_assert_eq!(message.len(), size);
            prop_assert_eq!(Stamp::read(&message), Some(stamp));
            prop_assert_eq!(Stamp::unchecked(&message), Some(stamp));
        }

        #[test]
        fn any_changed_bit_is_noticed(size in HEADER..200, at: prop::sample::Index, bit in 0..8) {
            let stamp = Stamp { run: 1, producer: 2, sequence: 3, scheduled: 4, lag: 5 };
            let mut message = Mint::new(size).message(&stamp).to_vec();
            let at = at.index(message.len());
            message[at] ^= 1_u8 << bit;
            prop_assert_eq!(Stamp::read(&message), None);
        }

        #[test]
        fn foreign_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Stamp::read(&bytes), Stamp::unchecked(&bytes), Stamp::peek(&bytes));
        }
    }

    #[test]
    fn a_cut_message_is_noticed() {
        let stamp = Stamp { run: 1, producer: 2, sequence: 3, scheduled: 4, lag: 5 };
        let message = Mint::new(64).message(&stamp);
        assert!((0..64).all(|len| Stamp::read(&message[..len]).is_none()));
    }
}
