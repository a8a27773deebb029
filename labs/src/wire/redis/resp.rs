//! Redis's protocol (RESP 2), as far as publish/subscribe needs it: commands
//! that are answered by a number, and replies that are arrays of strings.
//!
//! The crate redis is not used for this, for two reasons. A command of the crate
//! costs more time than Redis needs to handle it. And its stream of messages
//! reads ahead into an unbounded channel, so that Redis never notices a slow
//! subscriber.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{ANSWER_WITHIN, RedisSocket};
use crate::recovery::disconnected;

/// Longest string Redis itself allows (`proto-max-bulk-len`).
const LONGEST: usize = 512 << 20;

/// A subscriber that hears nothing for so long asks whether Redis is there, and waits as long for
/// the answer.
const QUIET: Duration = Duration::from_secs(3);
const LOST: &str = "lost the connection to Redis";
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Writes commands that are answered by a number each, and counts the answers. Not cancel-safe:
/// after a write that was dropped, the connection is of no use.
pub(crate) struct RespWriter {
    socket: RedisSocket,
    buffer: Vec<u8>,
    unwritten: usize,
    unanswered: usize,
    answers: BytesMut,
}

impl RespWriter {
    pub(crate) fn to(socket: RedisSocket) -> Self {
        Self { socket, buffer: Vec::new(), unwritten: 0, unanswered: 0, answers: BytesMut::new() }
    }

    /// Accepts a command; it is written by the next [`RespWriter::write`].
    pub(crate) fn put(&mut self, parts: &[&[u8]]) {
        // Writing to memory cannot fail.
        let _ = write!(self.buffer, "*{}\r\n", parts.len());
        for part in parts {
            let _ = write!(self.buffer, "${}\r\n", part.len());
            self.buffer.put_slice(part);
            self.buffer.put_slice(b"\r\n");
        }
        self.unwritten += 1;
    }

    /// Commands accepted and not yet written, and their bytes.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten
    }

    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Waits until at most `left` commands are not answered, then writes all that was accepted.
    /// The answers must be read, or Redis would in the end no longer read our commands.
    pub(crate) async fn write(&mut self, left: usize) -> Result<()> {
        self.answered(left).await?;
        timeout(ANSWER_WITHIN, self.socket.write_all(&self.buffer)).await?.context(LOST)?;
        self.buffer.clear();
        self.unanswered += std::mem::take(&mut self.unwritten);
        Ok(())
    }

    /// Waits until at most `left` commands are not answered.
    pub(crate) async fn answered(&mut self, left: usize) -> Result<()> {
        while self.unanswered > left {
            let read = timeout(ANSWER_WITHIN, self.socket.read_buf(&mut self.answers)).await?;
            if read.context(LOST)? == 0 {
                return Err(disconnected("Redis has closed the connection"));
            }
            // An answer is `:NUMBER`, on a line of its own.
            while let Some((_, _, end)) = header(&self.answers, 0)? {
                self.answers.advance(end);
                self.unanswered = self.unanswered.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// Reads replies when they are asked for, and no further. What a slow reader has not read stays
/// in the socket, and then in Redis's memory.
pub(crate) struct RespReader {
    socket: RedisSocket,
    unread: BytesMut,
    /// Nothing has come since a PING.
    pinged: bool,
}

impl RespReader {
    pub(crate) fn of(socket: RedisSocket) -> Self {
        Self { socket, unread: BytesMut::new(), pinged: false }
    }

    /// The last two parts of the next reply: a message's channel and body. Cancel-safe.
    pub(crate) async fn last_two(&mut self) -> Result<(Bytes, Bytes)> {
        loop {
            if let Some((channel, body)) = split_reply(&mut self.unread)? {
                if channel == "pong" && body.is_empty() {
                    continue;
                }
                return Ok((channel, body));
            }
            if self.unread.capacity() - self.unread.len() < READ_BYTES / 8 {
                self.unread.reserve(READ_BYTES);
            }
            let read = match timeout(QUIET, self.socket.read_buf(&mut self.unread)).await {
                Ok(read) => read.context(LOST)?,
                // Nothing is published, or the link is silent: Redis answers to a PING.
                Err(_) if !std::mem::replace(&mut self.pinged, true) => {
                    timeout(ANSWER_WITHIN, self.socket.write_all(b"*1\r\n$4\r\nPING\r\n"))
                        .await?
                        .context(LOST)?;
                    continue;
                }
                Err(_) => return Err(disconnected("Redis has not answered to a PING")),
            };
            self.pinged = false;
            if read == 0 {
                return Err(disconnected(
                    "Redis has closed the connection: this end fell too far behind, or Redis stopped",
                ));
            }
        }
    }
}

/// Splits off one whole reply: `*3 message CHANNEL BODY`, `*4 pmessage PATTERN
/// CHANNEL BODY`, or the confirmation of a subscription, which ends in a number.
fn split_reply(unread: &mut BytesMut) -> Result<Option<(Bytes, Bytes)>> {
    let Some((_, parts, mut at)) = header(unread, 0)? else { return Ok(None) };
    let (mut last_but_one, mut last) = (0..0, 0..0);
    for _ in 0..parts {
        let Some((kind, number, start)) = header(unread, at)? else { return Ok(None) };
        // Only strings have something after their header: `$5\r\nhello\r\n`.
        let end = if kind == b'$' { start + number } else { start };
        last_but_one = std::mem::replace(&mut last, start..end);
        at = if kind == b'$' { end + 2 } else { end };
    }
    if unread.len() < at {
        return Ok(None);
    }
    let reply = unread.split_to(at).freeze();
    Ok(Some((reply.slice(last_but_one), reply.slice(last))))
}

/// A kind and a number, as in `$64\r\n`, and where the next thing starts.
fn header(unread: &[u8], at: usize) -> Result<Option<(u8, usize, usize)>> {
    let rest = unread.get(at..).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = std::str::from_utf8(&rest[..end]).context("Redis sent something that is not RESP")?;
    if let Some(error) = line.strip_prefix('-') {
        bail!("Redis refused: {}", error.trim_end());
    }
    let number = line.get(1..).and_then(|digits| digits.trim_end().parse().ok());
    let number: usize = number.with_context(|| format!("Redis sent `{line}` where a number was expected"))?;
    ensure!(rest[0] != b'$' || number <= LONGEST, "Redis announces a string of {number} bytes");
    ensure!(rest[0] != b'*' || number <= 16, "Redis sent an array of {number} where a message was expected");
    Ok(Some((rest[0], number, at + end + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(parts: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = format!("*{}\r\n", parts.len()).into_bytes();
        for part in parts {
            wire.extend(format!("${}\r\n", part.len()).into_bytes());
            wire.extend(part);
            wire.extend(b"\r\n");
        }
        wire
    }

    proptest! {
        /// A reply that is cut anywhere is not there yet; whole, it gives its last two parts.
        #[test]
        fn replies_are_read_whole(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 3..5),
            cut: prop::sample::Index,
        ) {
            let wire = message(&parts);
            let mut unread = BytesMut::from(&wire[..cut.index(wire.len())]);
            prop_assert!(split_reply(&mut unread).expect("a beginning").is_none());
            let mut unread = BytesMut::from(&wire[..]);
            let (one, two) = split_reply(&mut unread).expect("valid").expect("whole");
            prop_assert_eq!((&one[..], &two[..]), (&parts[parts.len() - 2][..], &parts[parts.len() - 1][..]));
            prop_assert!(unread.is_empty());
        }
    }

    #[test]
    fn fuzz_resp() {
        let seeds = [
            &b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n"
                [..],
            b"*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\ncd\r\n$3\r\none\r\n",
            b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        ];
        fuzz::Target::new("resp").seeds(seeds).run(|input| {
            let (replies, sound) = fuzz::same_in_pieces(input, |pieces| {
                let (mut unread, mut replies) = (BytesMut::new(), Vec::new());
                for piece in pieces {
                    unread.extend_from_slice(piece);
                    while let Some(reply) = split_reply(&mut unread).transpose() {
                        let Ok(reply) = reply else { return (replies, false) };
                        replies.push(reply);
                    }
                }
                (replies, true)
            });
            sound && !replies.is_empty()
        });
    }
}
