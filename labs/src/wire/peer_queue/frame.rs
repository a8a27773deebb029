//! The protocol between the producer and the consumers of a queue without a broker.
//! A frame is a letter, then numbers, big-endian; a message ends with its body.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One frame of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueFrame {
    /// `J limit(4)`, from a consumer: it is here, and will hold this many. May be repeated.
    Join(u32),
    /// `A token(8) id(8)...`, from a consumer: these are done.
    Acked(u64, Vec<u64>),
    /// `N id(8)...`, from a consumer: these are to be delivered again.
    Nacked(Vec<u64>),
    /// `L token(8)`: the consumer leaves, and gives back what it holds.
    Leave(u64),
    /// `W log(8)`, from the producer, to `J`: the numbers of messages count in this log.
    Welcome(u64),
    /// `M id(8) attempt(4) body`, from the producer: a delivery.
    Message(u64, u32, Bytes),
    /// `K token(8)`, from the producer: it knows everything up to this token.
    Known(u64),
    /// `D token(8)`, from the producer: and a producer that is started again will know it.
    Durable(u64),
    /// `Q after(8)`, from anybody: which dead letters are there with a higher number? Answered by some
    /// of them, and `F`: whether there were any.
    Inspect(u64),
    /// `X log(8) id(8) attempts(4) length(1) reason body`, from the producer: a dead letter.
    Dead(PeerLetter),
    /// `R log(8) id(8)`, from anybody: return this dead letter to the queue. Answered by `F`.
    Return(u64, u64),
    /// `C log(8) id(8)`, from anybody: discard this dead letter. Answered by `F`.
    Discard(u64, u64),
    /// `F found(1)`, from the producer: whether that was there.
    Found(bool),
}

/// A dead letter of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLetter {
    /// The log in which its number counts.
    pub log: u64,
    /// Its number.
    pub id: u64,
    /// How many attempts have failed.
    pub attempts: u32,
    /// Why the last one has, in at most 255 bytes.
    pub reason: String,
    /// The message.
    pub body: Bytes,
}

impl QueueFrame {
    /// The frame as bytes; of a message or a dead letter, what comes before its body.
    pub fn head(&self) -> Bytes {
        let mut head = BytesMut::with_capacity(16);
        let mut put = |letter: u8, numbers: &[u64]| {
            head.put_u8(letter);
            numbers.iter().for_each(|number| head.put_u64(*number));
        };
        match self {
            Self::Join(limit) => {
                put(b'J', &[]);
                head.put_u32(*limit);
            }
            Self::Acked(token, ids) => {
                put(b'A', &[*token]);
                ids.iter().for_each(|id| head.put_u64(*id));
            }
            Self::Nacked(ids) => put(b'N', ids),
            Self::Leave(token) => put(b'L', &[*token]),
            Self::Welcome(log) => put(b'W', &[*log]),
            Self::Message(id, attempt, _) => {
                put(b'M', &[*id]);
                head.put_u32(*attempt);
            }
            Self::Known(token) => put(b'K', &[*token]),
            Self::Durable(token) => put(b'D', &[*token]),
            Self::Inspect(after) => put(b'Q', &[*after]),
            Self::Dead(letter) => {
                put(b'X', &[letter.log, letter.id]);
                head.put_u32(letter.attempts);
                let reason = &letter.reason.as_bytes()[..letter.reason.len().min(255)];
                head.put_u8(reason.len() as u8);
                head.put_slice(reason);
            }
            Self::Return(log, id) => put(b'R', &[*log, *id]),
            Self::Discard(log, id) => put(b'C', &[*log, *id]),
            Self::Found(found) => {
                put(b'F', &[]);
                head.put_u8(u8::from(*found));
            }
        }
        head.freeze()
    }

    /// The body of a message or a dead letter; of other frames, nothing.
    pub fn body(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Message(_, _, body) | Self::Dead(PeerLetter { body, .. }) => body,
            _ => &NOTHING,
        }
    }

    /// Decodes a frame; the body is what follows the head.
    pub fn decode(mut frame: Bytes) -> Result<Self> {
        let short = "a frame that is too short";
        let letter = frame.try_get_u8().context(short)?;
        Ok(match letter {
            b'J' => Self::Join(frame.try_get_u32().context(short)?),
            b'A' => Self::Acked(frame.try_get_u64().context(short)?, numbers(frame)?),
            b'N' => Self::Nacked(numbers(frame)?),
            b'L' => Self::Leave(frame.try_get_u64().context(short)?),
            b'W' => Self::Welcome(frame.try_get_u64().context(short)?),
            b'M' => {
                let id = frame.try_get_u64().context(short)?;
                Self::Message(id, frame.try_get_u32().context(short)?, frame)
            }
            b'K' => Self::Known(frame.try_get_u64().context(short)?),
            b'D' => Self::Durable(frame.try_get_u64().context(short)?),
            b'Q' => Self::Inspect(frame.try_get_u64().context(short)?),
            b'X' => {
                let (log, id) = (frame.try_get_u64().context(short)?, frame.try_get_u64().context(short)?);
                let attempts = frame.try_get_u32().context(short)?;
                let length = usize::from(frame.try_get_u8().context(short)?);
                ensure!(frame.len() >= length, short);
                let reason = String::from_utf8(frame.split_to(length).into());
                let reason = reason.context("a reason that is not text")?;
                Self::Dead(PeerLetter { log, id, attempts, reason, body: frame })
            }
            b'R' => Self::Return(frame.try_get_u64().context(short)?, frame.try_get_u64().context(short)?),
            b'C' => Self::Discard(frame.try_get_u64().context(short)?, frame.try_get_u64().context(short)?),
            b'F' => Self::Found(frame.try_get_u8().context(short)? > 0),
            other => bail!("a frame that begins with {other:#04x}, which none does"),
        })
    }
}

fn numbers(mut frame: Bytes) -> Result<Vec<u64>> {
    let mut numbers = Vec::with_capacity(frame.len() / 8);
    while frame.has_remaining() {
        numbers.push(frame.try_get_u64().context("a list of numbers that is cut off")?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = QueueFrame> {
        let ids = || proptest::collection::vec(any::<u64>(), 0..20);
        let body = || proptest::collection::vec(any::<u8>(), 0..50);
        let letter = (any::<u64>(), any::<u64>(), any::<u32>(), "[ -~]{0,60}", body());
        prop_oneof![
            any::<u32>().prop_map(QueueFrame::Join),
            (any::<u64>(), ids()).prop_map(|(token, ids)| QueueFrame::Acked(token, ids)),
            ids().prop_map(QueueFrame::Nacked),
            any::<u64>().prop_map(QueueFrame::Leave),
            any::<u64>().prop_map(QueueFrame::Welcome),
            (any::<u64>(), any::<u32>(), body()).prop_map(|(id, n, body)| QueueFrame::Message(
                id,
                n,
                body.into()
            )),
            any::<u64>().prop_map(QueueFrame::Known),
            any::<u64>().prop_map(QueueFrame::Durable),
            any::<u64>().prop_map(QueueFrame::Inspect),
            letter.prop_map(|(log, id, attempts, reason, body)| QueueFrame::Dead(PeerLetter {
                log,
                id,
                attempts,
                reason,
                body: body.into()
            })),
            any::<(u64, u64)>().prop_map(|(log, id)| QueueFrame::Return(log, id)),
            any::<(u64, u64)>().prop_map(|(log, id)| QueueFrame::Discard(log, id)),
            any::<bool>().prop_map(QueueFrame::Found),
        ]
    }

    proptest! {
        #[test]
        fn frames_are_decoded_as_they_were_encoded(frame in frame()) {
            let bytes: Bytes = [&frame.head()[..], frame.body()].concat().into();
            prop_assert_eq!(QueueFrame::decode(bytes).expect("a frame"), frame);
        }
    }

    #[test]
    fn fuzz_queue_frames() {
        let wire = |frame: &QueueFrame| Bytes::from([&frame.head()[..], frame.body()].concat());
        let frames = [
            QueueFrame::Join(8),
            QueueFrame::Acked(3, vec![1, 2]),
            QueueFrame::Nacked(vec![u64::MAX]),
            QueueFrame::Leave(4),
            QueueFrame::Welcome(5),
            QueueFrame::Message(6, 1, Bytes::from_static(b"body")),
            QueueFrame::Known(7),
            QueueFrame::Durable(8),
            QueueFrame::Inspect(9),
            QueueFrame::Dead(PeerLetter {
                log: 1,
                id: 2,
                attempts: 5,
                reason: "nacked".to_owned(),
                body: Bytes::from_static(b"body"),
            }),
            QueueFrame::Return(1, 2),
            QueueFrame::Discard(1, 2),
            QueueFrame::Found(true),
        ];
        fuzz::Target::new("queue_frames").seeds(frames.iter().map(wire)).run(|input| {
            let Ok(frame) = QueueFrame::decode(Bytes::copy_from_slice(input)) else { return false };
            assert_eq!(QueueFrame::decode(wire(&frame)).expect("a frame"), frame);
            true
        });
    }
}
