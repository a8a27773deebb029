//! STOMP 1.2's frames: a command, headers, an empty line, a body, a zero byte.
//! A frame is text, and can be typed into `nc`. A body with a `content-length`
//! may hold zero bytes; a body without one ends at the first zero byte.

use std::borrow::Cow;

use anyhow::{Context as _, Error, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::recovery::disconnected;

/// Longest command and headers together, bytes. Somebody's message may come with as many headers
/// as one frame of AMQP has room for, 128 KiB, and with escapes they become twice as long.
pub const MAX_HEAD: usize = 512 << 10;
/// Most headers of one frame: more do not fit into a frame of AMQP.
pub const MAX_HEADERS: usize = 32 << 10;
/// Longest body that is written, bytes.
pub const MAX_BODY: usize = 16 << 20;
/// Longest body that is read, bytes: what RabbitMQ takes from anybody, by default.
pub const LONGEST_BODY: usize = 128 << 20;
/// Room that is made at once for a body that was announced, bytes: it need not come.
const AHEAD: usize = 1 << 20;

/// The command of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "these are the specification's own words")]
pub enum Command {
    Connect,
    Stomp,
    Send,
    Subscribe,
    Unsubscribe,
    Ack,
    Nack,
    Begin,
    Commit,
    Abort,
    Disconnect,
    Connected,
    Message,
    Receipt,
    Error,
}

impl Command {
    /// Every command of the specification.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Stomp,
        Self::Send,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ack,
        Self::Nack,
        Self::Begin,
        Self::Commit,
        Self::Abort,
        Self::Disconnect,
        Self::Connected,
        Self::Message,
        Self::Receipt,
        Self::Error,
    ];

    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Stomp => "STOMP",
            Self::Send => "SEND",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Ack => "ACK",
            Self::Nack => "NACK",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Abort => "ABORT",
            Self::Disconnect => "DISCONNECT",
            Self::Connected => "CONNECTED",
            Self::Message => "MESSAGE",
            Self::Receipt => "RECEIPT",
            Self::Error => "ERROR",
        }
    }

    /// CONNECT and CONNECTED do not escape headers, so that STOMP 1.0 can read them.
    const fn escapes(self) -> bool {
        !matches!(self, Self::Connect | Self::Connected)
    }
}

/// A frame to be written.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The command.
    pub command: Command,
    /// Names and values; `content-length` is added where there is a body.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// A frame that was read. Nothing is copied: it keeps the buffer that it was read into.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The command.
    pub command: Command,
    /// The body.
    pub body: Bytes,
    head: Bytes,
    /// The positions in the head where each header begins, has its colon, and ends.
    headers: Vec<[u32; 3]>,
}

impl Frame {
    /// A header's value. Of several with one name the first counts, as the
    /// specification says: who passes a frame on puts its own in front.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.headers().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// Every header, in the order of the frame.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let part = |from: u32, to: u32| text(&self.head[from as usize..to as usize], self.command);
        self.headers.iter().map(move |[start, colon, end]| (part(*start, *colon), part(*colon + 1, *end)))
    }
}

/// A header's name or value without its escapes. They were checked when the frame was read.
fn text(raw: &[u8], command: Command) -> Cow<'_, str> {
    let text = std::str::from_utf8(raw).unwrap_or_default();
    if !command.escapes() || !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('c') => ':',
                _ => '\\',
            },
            c => c,
        });
    }
    Cow::Owned(plain)
}

/// Appends a frame to `out`.
pub fn encode(frame: Outgoing<'_>, out: &mut BytesMut) -> Result<()> {
    let Outgoing { command, headers, body } = frame;
    ensure!(body.len() <= MAX_BODY, "a body of {} bytes is too long for STOMP", body.len());
    let head: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    out.reserve(command.as_str().len() + head + body.len() + 32);
    out.put_slice(command.as_str().as_bytes());
    out.put_u8(b'\n');
    for (name, value) in headers {
        let breaks = !command.escapes() && [name, value].iter().any(|text| text.contains(['\n', '\r']));
        ensure!(!breaks, "{} cannot carry a header `{name}` with a line break", command.as_str());
        put_text(name, command, out);
        out.put_u8(b':');
        put_text(value, command, out);
        out.put_u8(b'\n');
    }
    if !body.is_empty() {
        out.put_slice(b"content-length:");
        let mut digits = [0; 20];
        out.put_slice(decimal(body.len(), &mut digits));
        out.put_u8(b'\n');
    }
    out.put_u8(b'\n');
    out.put_slice(body);
    out.put_u8(0);
    Ok(())
}

fn put_text(text: &str, command: Command, out: &mut BytesMut) {
    if !command.escapes() || !text.bytes().any(|byte| b"\\\n\r:".contains(&byte)) {
        return out.put_slice(text.as_bytes());
    }
    for byte in text.bytes() {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b':' => out.put_slice(b"\\c"),
            byte => out.put_u8(byte),
        }
    }
}

/// A number's digits, without going through a formatter for every message.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Reads and writes frames; remembers how far into an unfinished one it has looked.
#[derive(Debug, Default)]
pub struct Codec {
    /// The frame whose body is not there yet, with its length where it was announced.
    begun: Option<(Frame, Option<usize>)>,
    looked_at: usize,
    /// How often something has come, heart-beats included.
    heard: u64,
}

impl Encoder<Outgoing<'_>> for Codec {
    type Error = Error;

    fn encode(&mut self, frame: Outgoing<'_>, out: &mut BytesMut) -> Result<()> {
        encode(frame, out)
    }
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = Error;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>> {
        self.heard += 1;
        if self.begun.is_none() {
            let Some(end) = self.end_of_head(input)? else { return Ok(None) };
            self.looked_at = 0;
            self.begun = Some(head(input.split_to(end).freeze())?);
        }
        let Some((_, length)) = &self.begun else { return Ok(None) };
        let length = match length {
            Some(length) if input.len() > *length => {
                ensure!(input[*length] == 0, "a STOMP body is longer than was announced");
                *length
            }
            Some(length) => {
                input.reserve((*length + 1 - input.len()).min(AHEAD));
                return Ok(None);
            }
            None => match input[self.looked_at..].iter().position(|byte| *byte == 0) {
                Some(more) => self.looked_at + more,
                None => {
                    self.looked_at = input.len();
                    ensure!(input.len() <= LONGEST_BODY, "a STOMP body does not end");
                    return Ok(None);
                }
            },
        };
        let body = input.split_to(length).freeze();
        input.advance(1);
        self.looked_at = 0;
        Ok(self.begun.take().map(|(frame, _)| Frame { body, ..frame }))
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Frame>> {
        match self.decode(input)? {
            None if !input.is_empty() || self.begun.is_some() => {
                Err(disconnected("RabbitMQ has closed the connection in the middle of a frame"))
            }
            frame => Ok(frame),
        }
    }
}

impl Codec {
    /// Grows whenever something comes, be it a heart-beat.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Where the empty line behind the headers ends. Line ends between frames, which may be
    /// heart-beats, are skipped.
    fn end_of_head(&mut self, input: &mut BytesMut) -> Result<Option<usize>> {
        if self.looked_at == 0 {
            let eols = input.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            input.advance(eols);
        }
        while let Some(more) = input[self.looked_at..].iter().position(|byte| *byte == b'\n') {
            let at = self.looked_at + more;
            let before = input[..at].strip_suffix(b"\r").unwrap_or(&input[..at]);
            if before.ends_with(b"\n") {
                ensure!(at < MAX_HEAD, "a STOMP frame has too long a head");
                return Ok(Some(at + 1));
            }
            self.looked_at = at + 1;
        }
        ensure!(input.len() <= MAX_HEAD, "a STOMP frame has too long a head");
        Ok(None)
    }
}

/// The frame that begins like this, and how long its body will be.
fn head(bytes: Bytes) -> Result<(Frame, Option<usize>)> {
    let Ok(whole) = std::str::from_utf8(&bytes) else {
        // STOMP is UTF-8, but RabbitMQ passes on what somebody else has sent.
        return head(String::from_utf8_lossy(&bytes).into_owned().into());
    };
    let mut lines = whole.split_terminator('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let command = Command::ALL.into_iter().find(|command| command.as_str() == first);
    let command = command.with_context(|| format!("`{}` is not a STOMP command", shown(first)))?;
    let (mut headers, mut length) = (Vec::with_capacity(8), None);
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.find(':').with_context(|| format!("`{}` is not a STOMP header", shown(line)))?;
        ensure!(headers.len() < MAX_HEADERS, "a STOMP frame has more than {MAX_HEADERS} headers");
        ensure!(!command.escapes() || is_escaped(line), "`{}` has a wrong escape", shown(line));
        if &line[..colon] == "content-length" && length.is_none() {
            length = Some(content_length(&line[colon + 1..])?);
        }
        let start = line.as_ptr().addr() - whole.as_ptr().addr();
        headers.push([start, start + colon, start + line.len()].map(|at| at as u32));
    }
    Ok((Frame { command, body: Bytes::new(), head: bytes, headers }, length))
}

fn content_length(text: &str) -> Result<usize> {
    match text.trim().parse() {
        Ok(length) if length <= LONGEST_BODY => Ok(length),
        Ok(length) => {
            bail!("a STOMP body of {length} bytes is announced; at most {LONGEST_BODY} are possible")
        }
        Err(_) => bail!("`{}` is not the length of a STOMP body", shown(text)),
    }
}

/// The specification says that anything else behind a backslash is a fatal error.
fn is_escaped(line: &str) -> bool {
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'\\' && !matches!(rest.next(), Some(b'\\' | b'n' | b'r' | b'c')) {
            return false;
        }
    }
    true
}

/// The beginning of a text, for an error message.
fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
