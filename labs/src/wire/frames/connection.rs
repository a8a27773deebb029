//! One connection that carries frames, with its two buffers.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::recovery::disconnected;
use crate::wire::sockets::{Socket, StallLimit};

/// Longest frame, bytes. A length above it is a broken or hostile peer.
pub const MAX_FRAME: usize = 16 << 20;

/// Bytes asked of the kernel in one read.
pub(super) const READ: usize = 256 << 10;

/// Appends one frame made of `parts` to `out`.
#[inline]
fn encode(parts: &[&[u8]], out: &mut BytesMut) -> Result<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let Some(prefix) = u32::try_from(len).ok().filter(|_| len <= MAX_FRAME) else {
        bail!("a frame of {len} bytes is too long; at most {MAX_FRAME} are possible");
    };
    out.reserve(4 + len);
    out.put_u32(prefix);
    for part in parts {
        out.put_slice(part);
    }
    Ok(())
}

/// Takes the first whole frame off `input`, if there is one.
#[inline]
fn decode(input: &mut BytesMut) -> Result<Option<Bytes>> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > MAX_FRAME {
        bail!("the peer announces a frame of {len} bytes; at most {MAX_FRAME} are possible");
    }
    if input.len() < 4 + len {
        return Ok(None);
    }
    let mut frame = input.split_to(4 + len).freeze();
    frame.advance(4);
    Ok(Some(frame))
}

/// What can happen while one waits on a connection.
pub enum ConnectionEvent {
    /// All that was put is written.
    Written,
    /// A frame came.
    Frame(Bytes),
    /// The peer has closed the connection.
    Closed,
}

/// One connection, TCP or Unix, that carries frames.
pub struct FrameConnection {
    socket: Socket,
    input: BytesMut,
    output: BytesMut,
    /// Bytes that the kernel has taken so far.
    written: u64,
}

impl FrameConnection {
    /// Connects to a peer that has announced itself.
    pub async fn connect(address: &str) -> Result<Self> {
        Ok(Self::new(Socket::connect(address).await?))
    }

    /// Takes over an open connection.
    pub fn new(socket: Socket) -> Self {
        Self { socket, input: BytesMut::new(), output: BytesMut::new(), written: 0 }
    }

    /// Accepts a frame; it is written by the next flush.
    #[inline]
    pub fn put(&mut self, parts: &[&[u8]]) -> Result<()> {
        encode(parts, &mut self.output)
    }

    /// Bytes accepted and not yet written.
    #[inline]
    pub fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// Writes all that was accepted.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await.context("the connection broke while writing")
    }

    /// As [`FrameConnection::flush`]; a peer that takes nothing for too long is an error.
    pub async fn flush_within(&mut self, stall: &mut StallLimit) -> Result<()> {
        stall.begin();
        poll_fn(|cx| match self.poll_flush(cx) {
            Poll::Ready(done) => Poll::Ready(done.context("the connection broke while writing")),
            Poll::Pending => stall.poll_stalled(self.written, cx).map(Err),
        })
        .await
    }

    /// The next frame; `None` after the peer has closed. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if poll_fn(|cx| self.poll_fill(READ, cx)).await.context("the connection broke while reading")?
                == 0
            {
                return self.end();
            }
        }
    }

    /// As [`FrameConnection::next`], and writes what was put meanwhile. Returns as well when all of
    /// that is written. Cancel-safe.
    pub async fn event(&mut self) -> Result<ConnectionEvent> {
        poll_fn(|cx| {
            if !self.output.is_empty()
                && let Poll::Ready(written) = self.poll_flush(cx)
            {
                written.context("the connection broke while writing")?;
                return Poll::Ready(Ok(ConnectionEvent::Written));
            }
            loop {
                if let Some(frame) = self.buffered()? {
                    return Poll::Ready(Ok(ConnectionEvent::Frame(frame)));
                }
                if ready!(self.poll_fill(READ, cx)).context("the connection broke while reading")? == 0 {
                    return Poll::Ready(self.end().map(|_| ConnectionEvent::Closed));
                }
            }
        })
        .await
    }

    /// What it means that the peer has closed: an error in the middle of a frame.
    pub(super) fn end(&self) -> Result<Option<Bytes>> {
        match self.input.len() {
            0 => Ok(None),
            some => {
                let why = format!("the peer closed in the middle of a frame, after {some} bytes of it");
                Err(disconnected(why))
            }
        }
    }

    /// The length of the frame that is being read, with its prefix; 0 while that is not known.
    pub(super) fn announced(&self) -> usize {
        self.input.first_chunk::<4>().map_or(0, |prefix| 4 + u32::from_be_bytes(*prefix) as usize)
    }

    /// Bytes that have been read and not handed out.
    pub(super) fn unread(&self) -> usize {
        self.input.len()
    }

    /// Bytes accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.written + self.output.len() as u64
    }

    /// Bytes that the kernel has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Of a connection that is only written to: whether it has ended. An error if the peer sends
    /// something.
    pub fn ended(&self) -> Option<Result<()>> {
        self.socket.ended()
    }

    /// A frame that has already been read.
    #[inline]
    pub fn buffered(&mut self) -> Result<Option<Bytes>> {
        decode(&mut self.input)
    }

    /// Reads what there is, at most `limit` bytes; 0 bytes mean that the peer has closed.
    pub fn poll_fill(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            self.input.reserve(limit);
            match self.socket.try_read_buf(&mut self.input, limit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Writes until nothing is left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            ready!(self.socket.poll_write_ready(cx))?;
            match self.socket.try_write(&self.output) {
                Ok(written) => {
                    self.output.advance(written);
                    self.written += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the bytes are cut up on their way, the frames come out whole and in order.
        #[test]
        fn frames_survive_any_fragmentation(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in proptest::collection::vec(1usize..97, 1..20),
        ) {
            let mut sent = BytesMut::new();
            for frame in &frames {
                let (head, tail) = frame.split_at(frame.len() / 2);
                encode(&[head, tail], &mut sent).expect("short frames");
            }
            let (mut input, mut received, mut cut) = (BytesMut::new(), Vec::new(), cuts.iter().cycle());
            while !sent.is_empty() {
                let step = (*cut.next().expect("a cycle")).min(sent.len());
                input.extend_from_slice(&sent.split_to(step));
                while let Some(frame) = decode(&mut input).expect("valid frames") {
                    received.push(frame.to_vec());
                }
            }
            prop_assert_eq!(received, frames);
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_on_both_sides() {
        assert!(encode(&[&vec![0; MAX_FRAME + 1]], &mut BytesMut::new()).is_err());
        let mut input = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert!(decode(&mut input).is_err());
    }

    #[test]
    fn fuzz_frames() {
        let wire = |frames: &[&[u8]]| {
            let mut out = BytesMut::new();
            frames.iter().for_each(|frame| encode(&[frame], &mut out).expect("a short frame"));
            out
        };
        let seeds = [wire(&[b"", b"hello", b"again"]), wire(&[&[0xff; 300]])];
        fuzz::Target::new("frames").seeds(seeds).run(|input| {
            let frames = fuzz::same_in_pieces(input, |pieces| {
                let (mut input, mut frames) = (BytesMut::new(), Vec::new());
                for piece in pieces {
                    input.extend_from_slice(piece);
                    while let Some(frame) = decode(&mut input).transpose() {
                        let Ok(frame) = frame else { return (frames, false) };
                        frames.push(frame);
                    }
                }
                (frames, true)
            });
            let frames: Vec<&[u8]> = frames.0.iter().map(|frame| &frame[..]).collect();
            assert!(input.starts_with(&wire(&frames)), "they are written as they were read");
            !frames.is_empty()
        });
    }
}
