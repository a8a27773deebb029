//! One direction of one connection.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

use super::state::{Counters, Direction, Faults};

/// The most bytes that wait in one direction of a connection.
pub const QUEUE: usize = 256 << 10;
/// Bytes that are read at once, and at first: most connections are quiet, and need little memory.
const READ: usize = 64 << 10;
const FIRST_READ: usize = 4 << 10;
/// Bytes that still pass in each direction of a connection that is torn: more than the head of a
/// frame of any protocol here, and less than a frame with a measured message.
const TORN: usize = 13;
/// A torn connection on which nothing is written is reset after this time.
const TEAR_WITHIN: Duration = Duration::from_millis(200);

/// What a connection needs of its proxy.
pub(super) struct Link<'a> {
    pub(super) counters: &'a Counters,
    pub(super) faults: watch::Receiver<Faults>,
    /// The faults when it was accepted: cuts and tears after that are meant for it.
    pub(super) accepted: Faults,
}

/// Bytes that were read and not yet written, each with the time at which it is to be written.
#[derive(Default)]
struct Waiting {
    chunks: VecDeque<(Instant, Bytes)>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, due: Instant, bytes: Bytes) {
        self.bytes += bytes.len();
        self.chunks.push_back((due, bytes));
    }

    fn written(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some((_, chunk)) = self.chunks.front_mut() {
            chunk.advance(bytes);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }
}

/// Forwards until `from` has ended and all of it is written; then ends `to` in this direction, too.
///
/// # Errors
/// When either side fails, or a fault says so: then both sides are to be reset.
pub(super) async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut link: Link<'_>,
) -> io::Result<()> {
    let mut faults = *link.faults.borrow_and_update();
    let mut waiting = Waiting::default();
    let mut buffer = BytesMut::new();
    let mut read_size = FIRST_READ;
    let mut ended = false;
    // Of a torn connection: the bytes that may still pass, and until when.
    let mut torn: Option<(usize, Instant)> = None;
    loop {
        if faults.cuts != link.accepted.cuts || faults.closed {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if faults.tears != link.accepted.tears && torn.is_none() {
            torn = Some((TORN, Instant::now() + TEAR_WITHIN));
        }
        let hole = faults.hole == Some(direction);
        if ended && waiting.bytes == 0 && !hole {
            return to.shutdown().await;
        }
        let now = Instant::now();
        let due = waiting.chunks.front().map(|(due, _)| *due);
        let is_due = due.is_some_and(|due| due <= now);
        let most = torn.map_or(usize::MAX, |(left, _)| left);
        // Of few bytes a second, few are read at once, or they would pass in large steps.
        let size =
            faults.throttle.map_or(read_size, |per_s| read_size.min((per_s.get() / 50).max(1) as usize));
        buffer.reserve(size);
        tokio::select! {
            biased;
            changed = link.faults.changed() => {
                changed.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
                let before = std::mem::replace(&mut faults, *link.faults.borrow_and_update());
                if (before.delay, before.throttle) != (faults.delay, faults.throttle) {
                    // What waits is not held back any more. It stays in order.
                    waiting.chunks.iter_mut().for_each(|(due, _)| *due = now);
                }
            }
            () = sleep_until(torn.map_or(now, |(_, until)| until)), if torn.is_some() => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            wrote = write(&mut to, &waiting, most), if is_due && !hole => {
                let wrote = wrote?;
                waiting.written(wrote);
                link.counters.forwarded(direction, wrote);
                if let Some((left, _)) = &mut torn {
                    *left -= wrote;
                    if *left == 0 {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                }
            }
            read = read(&mut from, &mut buffer, size), if !ended && !hole && waiting.bytes < QUEUE => {
                let read = read?;
                ended = read == 0;
                if !ended {
                    let bytes = buffer.split().freeze();
                    let mut due = Instant::now() + faults.delay;
                    if let Some(per_s) = faults.throttle {
                        due = due.max(link.counters.passed(direction, bytes.len(), per_s));
                    }
                    // A busy connection fills what it is given.
                    read_size = if read == read_size { READ } else { read_size };
                    waiting.push(due, bytes);
                }
            }
            () = sleep_until(due.unwrap_or(now)), if due.is_some() && !is_due && !hole => {}
        }
    }
}

/// Writes of the first chunk, at most `most` bytes. May be dropped: then nothing was written.
async fn write(to: &mut (impl AsyncWrite + Unpin), waiting: &Waiting, most: usize) -> io::Result<usize> {
    let Some((_, chunk)) = waiting.chunks.front() else { return Ok(0) };
    let wrote = to.write(&chunk[..chunk.len().min(most)]).await?;
    if wrote == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(wrote) }
}

/// Reads at most `size` bytes. May be dropped: then nothing was read.
async fn read(from: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, size: usize) -> io::Result<usize> {
    let mut limited = bytes::BufMut::limit(buffer, size);
    from.read_buf(&mut limited).await
}
