//! A conversation with a broker that is asked about itself: no library, and limits on how
//! much it may say. Who asks sets a limit on the time.

use anyhow::{Context as _, Result, bail, ensure};
use labs::lab::BrokerAddress;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Longest line, and longest part whose length was announced, bytes.
const LONGEST: usize = 1 << 20;
/// All that a broker may say, bytes.
const MOST: usize = 16 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection to a broker.
pub(super) struct Conversation {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    read: usize,
}

impl Conversation {
    /// Connects to one of a broker's protocols, or to its Unix socket.
    pub(super) async fn with(address: &BrokerAddress, protocol: &str) -> Result<Self> {
        let stream: Box<dyn Stream> = match address.unix() {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => {
                let endpoint = address.endpoint(protocol)?;
                let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Ok(Self { stream, unread: Vec::new(), read: 0 })
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.context("it closed the connection")
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=searched + at).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Ok(line);
            }
            searched = self.unread.len();
            ensure!(searched <= LONGEST, "it sent {searched} bytes without the end of a line");
            self.more().await?;
        }
    }

    /// The next `length` bytes.
    pub(super) async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= LONGEST, "it announced {length} bytes where a few were expected");
        while self.unread.len() < length {
            self.more().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// All that has come and was not read.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Waits until more has come.
    pub(super) async fn more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.unread).await.context("it broke the connection")?;
        if read == 0 {
            bail!("it closed the connection");
        }
        self.read += read;
        ensure!(self.read <= MOST, "it sent {} bytes and no answer", self.read);
        Ok(())
    }
}
