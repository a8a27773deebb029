//! Control lines with a largest length, so that the other side cannot fill our memory.

use anyhow::{Context as _, Result, ensure};
use labs::printable::printable_bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::protocol::LONGEST;
use crate::measure::clock;

/// The next line, and when it was read by this side's clock, ns; `None` at the end. Not cancel-safe.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<(u64, T)>> {
    let mut line = Vec::new();
    let read = from.take(LONGEST as u64).read_until(b'\n', &mut line).await?;
    // Before it is understood: that takes time, too.
    let at = clock::now();
    ensure!(line.len() < LONGEST, "a control line is longer than {LONGEST} bytes");
    // A line without its end means that the writer has ended.
    if read == 0 || line.last() != Some(&b'\n') {
        return Ok(None);
    }
    // What a login shell prints before the program starts is shown, cut.
    let shown = || printable_bytes(&line[..line.len().min(200)]);
    let line = serde_json::from_slice(&line).with_context(|| format!("not a control line: {}", shown()))?;
    Ok(Some((at, line)))
}

/// Writes a line.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    to.write_all(&text).await?;
    to.flush().await?;
    Ok(())
}
