//! Not in the original crate: connections that were accepted elsewhere, and what watches over them.

use crate::codec::CodecError;
use crate::transport::make_framed;
pub use crate::transport::tune_socket_buffers;
use crate::util;
use crate::{Endpoint, MultiPeerBackend, SocketEvent, ZmqResult};

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Watches over what is read from one connection. It is asked when bytes are needed from the
/// transport, and not for each message.
pub trait ReadGuard: Send + Sync {
    /// The connection is to be read for a message that has `len` bytes, as far as is known; 0 between
    /// two messages. `Pending`: not now.
    fn poll_room(&mut self, len: usize, cx: &mut Context<'_>) -> Poll<()>;
    /// So many bytes have come.
    fn came(&mut self, bytes: usize);
    /// There was nothing to read. Ready: the connection ends with this error.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error>;
    /// The connection ends with this error.
    fn failed(&mut self, error: &CodecError);
}

/// Does the handshake with a peer that has connected, and adds it to a bound socket's peers.
pub async fn accept_stream<T>(
    backend: Arc<dyn MultiPeerBackend>,
    stream: T,
    endpoint: Endpoint,
    guard: Box<dyn ReadGuard>,
) -> ZmqResult<()>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Sync + 'static,
{
    let mut io = make_framed(stream, Arc::clone(backend.socket_options()));
    io.read_half.guard = Some(guard);
    let peer_id = util::peer_connected(io, Arc::clone(&backend)).await?;
    // As the original does for those it accepts itself: a PUSH socket without peers waits for this.
    if let Some(monitor) = backend.monitor().lock().as_mut() {
        let _ = monitor.try_send(SocketEvent::Accepted(endpoint, peer_id));
    }
    Ok(())
}
