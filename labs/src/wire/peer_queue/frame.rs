//! The protocol between the producer and the consumers of a queue without a broker.
//! A frame is a letter, then numbers, big-endian; a message ends with its body.

use anyhow::{Context, Result, bail};
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
}

impl QueueFrame {
    /// The frame as bytes; of a message, what comes before its body.
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
        }
        head.freeze()
    }

    /// The body of a message; of other frames, nothing.
    pub fn body(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Message(_, _, body) => body,
            _ => &NOTHING,
        }
    }

    /// Decodes a frame; the body of a message is what follows its head.
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
        let body = proptest::collection::vec(any::<u8>(), 0..50);
        prop_oneof![
            any::<u32>().prop_map(QueueFrame::Join),
            (any::<u64>(), ids()).prop_map(|(token, ids)| QueueFrame::Acked(token, ids)),
            ids().prop_map(QueueFrame::Nacked),
            any::<u64>().prop_map(QueueFrame::Leave),
            any::<u64>().prop_map(QueueFrame::Welcome),
            (any::<u64>(), any::<u32>(), body).prop_map(|(id, n, body)| QueueFrame::Message(
                id,
                n,
                body.into()
            )),
            any::<u64>().prop_map(QueueFrame::Known),
            any::<u64>().prop_map(QueueFrame::Durable),
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
        ];
        fuzz::Target::new("queue_frames").seeds(frames.iter().map(wire)).run(|input| {
            let Ok(frame) = QueueFrame::decode(Bytes::copy_from_slice(input)) else { return false };
            assert_eq!(QueueFrame::decode(wire(&frame)).expect("a frame"), frame);
            true
        });
    }
}
