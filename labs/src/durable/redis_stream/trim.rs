//! How the log of durable subscribers is kept short: what every consumer group
//! has acked is removed (`XTRIM`), except the newest events, which plain
//! subscribers may still be reading.

use anyhow::{Context, Result};
use redis::Value;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamInfoGroupsReply, StreamPendingReply};

use crate::wire::redis::stream::Entry;

/// Trims one stream.
pub(crate) struct Trimmer {
    stream: String,
    redis: MultiplexedConnection,
    /// The newest entry when the stream was trimmed the last time.
    newest_then: Id,
}

impl Trimmer {
    pub(crate) const fn of(stream: String, redis: MultiplexedConnection) -> Self {
        Self { stream, redis, newest_then: Id(0, 0) }
    }

    /// Removes what is older than the last trimming and was acked by every group. A group that
    /// is created meanwhile begins later than that.
    pub(crate) async fn trim(&mut self) -> Result<()> {
        let Id(ms, number) = self.needed().await.context("cannot tell what the groups still need")?;
        let mut trim = redis::pipe();
        // Approximately (`~`): Redis removes whole nodes of a hundred entries.
        trim.cmd("XTRIM").arg(&self.stream).arg("MINID").arg("~").arg(format!("{ms}-{number}")).ignore();
        trim.cmd("XREVRANGE").arg(&self.stream).arg("+").arg("-").arg("COUNT").arg(1);
        let (newest,): (Value,) = trim.query_async(&mut self.redis).await.context("cannot trim the log")?;
        if let Some(newest) = Entry::list(newest).pop() {
            self.newest_then = Id::read(&newest.id)?;
        }
        Ok(())
    }

    /// The oldest entry that somebody may still need.
    async fn needed(&mut self) -> Result<Id> {
        let groups = redis::cmd("XINFO").arg("GROUPS").arg(&self.stream).query_async(&mut self.redis).await;
        let groups: StreamInfoGroupsReply = groups?;
        let mut pending = redis::pipe();
        for group in &groups.groups {
            pending.cmd("XPENDING").arg(&self.stream).arg(&group.name);
        }
        let pending: Vec<StreamPendingReply> = pending.query_async(&mut self.redis).await?;
        let mut needed = self.newest_then;
        for (group, pending) in groups.groups.iter().zip(pending) {
            needed = needed.min(Id::read(&group.last_delivered_id)?);
            if let StreamPendingReply::Data(pending) = pending {
                needed = needed.min(Id::read(&pending.start_id)?);
            }
        }
        Ok(needed)
    }
}

/// An entry's identifier: milliseconds since 1970, and a number within.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id(u64, u64);

impl Id {
    fn read(text: &str) -> Result<Self> {
        let read = || text.split_once('-').and_then(|(ms, n)| Some(Self(ms.parse().ok()?, n.parse().ok()?)));
        read().with_context(|| format!("`{text}` is not an identifier of an entry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_stream_ids() {
        let seeds = ["0-0", "1732600000000-1", "18446744073709551615-18446744073709551615"];
        fuzz::Target::new("stream_ids").seeds(seeds).run(|input| {
            let Ok(Id(ms, number)) = Id::read(&String::from_utf8_lossy(input)) else { return false };
            Id::read(&format!("{ms}-{number}")).expect("an identifier") == Id(ms, number)
        });
    }
}
