//! A stream of bytes as a one-way channel of lines: a child's stdin is a
//! sender's end, its stdout a receiver's.

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};

use crate::oneway::{Receiver, Sender};

/// Longest line, in bytes. What is longer is nothing that was asked for.
pub const MAX_LINE: usize = 64 * 1024;

/// Writes each message as a line.
pub struct LineSender<W: AsyncWrite>(BufWriter<W>);

impl<W: AsyncWrite + Unpin> LineSender<W> {
    /// Lines into this stream.
    pub fn into(stream: W) -> Self {
        Self(BufWriter::new(stream))
    }
}

impl<W: AsyncWrite + Unpin> Sender for LineSender<W> {
    /// The body has no line break: it would end the message.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.0.write_all(&body).await.context("cannot write a line")?;
        self.0.write_all(b"\n").await.context("cannot write a line")
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await.context("cannot write a line")
    }

    async fn close(mut self) -> Result<()> {
        self.0.shutdown().await.context("cannot close the channel")
    }
}

/// Reads each line as a message, without its line break.
///
/// What is no line is handed on as something that nobody takes for an answer,
/// so that it is counted where garbage is: of a line that is too long the first
/// [`MAX_LINE`] bytes and one more, and for what has no line break at the end of
/// the stream (its writer was killed while it wrote) an empty message.
pub struct LineReceiver<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReceiver<R> {
    /// Lines out of this stream.
    pub fn of(stream: R) -> Self {
        Self { stream: BufReader::new(stream), line: Vec::new() }
    }
}

impl<R: AsyncRead + Unpin> Receiver for LineReceiver<R> {
    async fn recv(&mut self) -> Result<Option<Bytes>> {
        loop {
            // Nothing is taken out of the stream before this is over, so that
            // giving up here loses nothing.
            let here = self.stream.fill_buf().await.context("cannot read a line")?;
            if here.is_empty() {
                let cut = !std::mem::take(&mut self.line).is_empty();
                return Ok(cut.then(Bytes::new));
            }
            let end = here.iter().position(|byte| *byte == b'\n');
            let (text, used) = end.map_or((here, here.len()), |end| (&here[..end], end + 1));
            let room = (MAX_LINE + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.stream.consume(used);
            if end.is_some() {
                let mut line = std::mem::take(&mut self.line);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Foreign bytes are lines that are bounded, or the end; never a panic.
        #[test]
        fn foreign_bytes_do_no_harm(text in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n')], 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let whole = text.iter().filter(|byte| **byte == b'\n').count();
            let cut = usize::from(text.last().is_some_and(|byte| *byte != b'\n'));
            prop_assert_eq!(runtime.block_on(lines(&text)).len(), whole + cut);
        }
    }

    async fn lines(mut text: &[u8]) -> Vec<Bytes> {
        let (mut receiver, mut lines) = (LineReceiver::of(&mut text), Vec::new());
        while let Some(line) = receiver.recv().await.expect("memory can be read") {
            lines.push(line);
        }
        lines
    }

    #[tokio::test(flavor = "current_thread")]
    async fn lines_are_messages() {
        assert_eq!(lines(b"one\ntwo\r\n\nfour\n").await, ["one", "two", "", "four"]);
        assert_eq!(lines(b"").await, [""; 0]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn half_a_line_is_no_message() {
        assert_eq!(lines(b"7 ok done\n8 ok ha").await, ["7 ok done", ""]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_without_end_fills_no_memory() {
        let mut text = vec![b'x'; 10 * MAX_LINE];
        text.extend_from_slice(b"\nnext\n");
        let lines = lines(&text).await;
        assert_eq!((lines[0].len(), &lines[1][..]), (MAX_LINE + 1, &b"next"[..]));
    }

    /// However little a read gives, the lines are the same.
    #[test]
    fn fuzz_child_stream() {
        use futures_util::FutureExt as _;
        let read = |mut input: &[u8], at_once: usize| {
            let stream = BufReader::with_capacity(at_once, &mut input);
            let (mut receiver, mut lines) = (LineReceiver { stream, line: Vec::new() }, Vec::new());
            let recv = |receiver: &mut LineReceiver<_>| {
                receiver.recv().now_or_never().expect("memory does not wait")
            };
            while let Some(line) = recv(&mut receiver).expect("memory can be read") {
                lines.push(line);
            }
            lines
        };
        let seeds = ["1 ok done\n2 error no\r\n\n", "7 ok done\n8 ok ha"];
        // The target itself keeps every line, twice.
        fuzz::Target::new("child_stream").seeds(seeds).memory(4 << 20).run(|input| {
            let lines = read(input, 8192);
            assert_eq!(lines, read(input, 1));
            assert!(lines.iter().all(|line| line.len() <= MAX_LINE + 1 && !line.contains(&b'\n')));
            !lines.is_empty()
        });
    }
}
