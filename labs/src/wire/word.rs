//! What the producer and the consumers of a queue without a broker say to each
//! other: a letter, then numbers, big-endian; a message ends with its body.

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// One word of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `J limit(4)`: a consumer is here, and will hold this many. May be said again.
    Join(u32),
    /// `A token(8) id(8)...`: these are done with.
    Acked(u64, Vec<u64>),
    /// `N id(8)...`: these are to be delivered again.
    Nacked(Vec<u64>),
    /// `L token(8)`: the consumer goes, and gives back what it holds.
    Leave(u64),
    /// `W log(8)`: welcome; the numbers of messages count in this log.
    Welcome(u64),
    /// `M id(8) attempt(4) body`: a delivery.
    Message(u64, u32, Bytes),
    /// `K token(8)`: what was said up to this token is known.
    Known(u64),
    /// `D token(8)`: and it will be known to a producer that is started again.
    Durable(u64),
}

impl Word {
    /// The word, a message without its body.
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

    /// The body of a message; of other words, nothing.
    pub fn body(&self) -> &Bytes {
        static NOTHING: Bytes = Bytes::new();
        match self {
            Self::Message(_, _, body) => body,
            _ => &NOTHING,
        }
    }

    /// Reads a word; the body of a message is what follows its head.
    pub fn read(mut frame: Bytes) -> Result<Self> {
        let short = "a word that is too short";
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
            other => bail!("a word that begins with {other:#04x}, which none does"),
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

    fn word() -> impl Strategy<Value = Word> {
        let ids = || proptest::collection::vec(any::<u64>(), 0..20);
        let body = proptest::collection::vec(any::<u8>(), 0..50);
        prop_oneof![
            any::<u32>().prop_map(Word::Join),
            (any::<u64>(), ids()).prop_map(|(token, ids)| Word::Acked(token, ids)),
            ids().prop_map(Word::Nacked),
            any::<u64>().prop_map(Word::Leave),
            any::<u64>().prop_map(Word::Welcome),
            (any::<u64>(), any::<u32>(), body).prop_map(|(id, n, body)| Word::Message(id, n, body.into())),
            any::<u64>().prop_map(Word::Known),
            any::<u64>().prop_map(Word::Durable),
        ]
    }

    proptest! {
        #[test]
        fn words_are_read_as_they_were_said(word in word()) {
            let frame: Bytes = [&word.head()[..], word.body()].concat().into();
            prop_assert_eq!(Word::read(frame).expect("a word"), word);
        }

        /// Foreign bytes give a word or an error, never a panic.
        #[test]
        fn foreign_bytes_do_no_harm(bytes in "[JANLWMKD]?[\\x00-\\xff]{0,40}") {
            let _ = Word::read(Bytes::from(bytes.into_bytes()));
        }
    }
}
