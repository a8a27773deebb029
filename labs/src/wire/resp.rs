//! Redis's protocol (RESP 2), as far as a subscriber needs it: arrays of strings.

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Replies, read when they are asked for and no further. What a slow reader
/// leaves stays in the socket, and then at Redis.
pub(crate) struct Replies {
    socket: TcpStream,
    unread: BytesMut,
}

impl Replies {
    pub(crate) fn of(socket: TcpStream) -> Self {
        Self { socket, unread: BytesMut::new() }
    }

    /// The last two parts of the next reply: a message's channel and body. Cancel-safe.
    pub(crate) async fn last_two(&mut self) -> Result<(Bytes, Bytes)> {
        loop {
            if let Some(parts) = split_reply(&mut self.unread)? {
                return Ok(parts);
            }
            if self.unread.capacity() - self.unread.len() < READ_BYTES / 8 {
                self.unread.reserve(READ_BYTES);
            }
            let read =
                self.socket.read_buf(&mut self.unread).await.context("lost the connection to Redis")?;
            ensure!(
                read > 0,
                "Redis has closed the connection: this end fell too far behind, or Redis stopped"
            );
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
    let line = std::str::from_utf8(&rest[..end]).context("Redis sent what is not its protocol")?;
    if let Some(error) = line.strip_prefix('-') {
        bail!("Redis refused: {}", error.trim_end());
    }
    let number = line.get(1..).and_then(|digits| digits.trim_end().parse().ok());
    let number = number.with_context(|| format!("Redis sent `{line}` where a number was due"))?;
    Ok(Some((rest[0], number, at + end + 1)))
}
