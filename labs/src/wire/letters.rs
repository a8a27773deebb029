//! Letters on Redis lists: a text line in front of the body says where it goes
//! (`REPLY-LIST ID\n`), or what it answers (`ID\n`).

use std::collections::{HashSet, VecDeque};

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use crate::wire::pending::Pending;
use crate::wire::redis::{self as wire, Asked, Outbox};

/// Where a reply goes, and which request it answers, as the request had them.
pub struct Address {
    list: Bytes,
    id: Bytes,
}

/// Takes requests off a list, many with one command.
pub(crate) struct Requests {
    connection: MultiplexedConnection,
    list: String,
    batch: usize,
    popped: VecDeque<Bytes>,
    asked: Asked<Vec<Vec<u8>>>,
}

impl Requests {
    pub(crate) const fn on(connection: MultiplexedConnection, list: String, batch: usize) -> Self {
        Self { connection, list, batch, popped: VecDeque::new(), asked: Asked::nothing() }
    }

    /// A request that is here already.
    pub(crate) fn here(&mut self) -> Option<(Bytes, Address)> {
        while let Some(message) = self.popped.pop_front() {
            // What has no return address cannot be answered, and is dropped.
            if let Some((line, body)) = split_line(&message)
                && let Some(space) = line.iter().rposition(|byte| *byte == b' ')
            {
                return Some((body, Address { list: line.slice(..space), id: line.slice(space + 1..) }));
            }
        }
        None
    }

    /// Waits until there are some. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Result<()> {
        let pop = || wire::take(self.connection.clone(), self.list.clone(), self.batch);
        self.popped = self.asked.or_ask(pop).await?.into_iter().map(Bytes::from).collect();
        Ok(())
    }
}

/// Pushes replies, many in one pipeline.
pub(crate) struct Replies {
    outbox: Outbox,
    batch: usize,
    keep_ms: usize,
    accepted: Vec<(Address, Bytes)>,
}

impl Replies {
    pub(crate) fn through(connection: MultiplexedConnection, batch: usize, keep_ms: usize) -> Self {
        Self { outbox: Outbox::new(connection), batch, keep_ms, accepted: Vec::new() }
    }

    pub(crate) async fn push(&mut self, to: Address, body: Bytes) -> Result<()> {
        self.accepted.push((to, body));
        if self.accepted.len() >= self.batch { self.write().await } else { Ok(()) }
    }

    /// Hands over what was accepted. Cancel-safe.
    pub(crate) async fn write(&mut self) -> Result<()> {
        self.outbox.room().await?;
        if self.accepted.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let mut lists = HashSet::new();
        for (to, body) in self.accepted.drain(..) {
            pipeline.cmd("RPUSH").arg(&to.list[..]).arg([&to.id[..], b"\n", &body].concat());
            lists.insert(to.list);
        }
        // A requester may have gone, and nobody else would ever empty its list.
        for list in lists {
            pipeline.cmd("PEXPIRE").arg(&list[..]).arg(self.keep_ms);
        }
        self.outbox.put(pipeline)
    }
}

/// Hands every reply on a list to the ask that waits for it.
pub(crate) async fn hand_out(
    connection: MultiplexedConnection,
    list: String,
    batch: usize,
    pending: Pending,
) {
    while let Ok(replies) = wire::take(connection.clone(), list.clone(), batch).await {
        for reply in replies.into_iter().map(Bytes::from) {
            if let Some((line, body)) = split_line(&reply)
                && let Some(id) = std::str::from_utf8(&line).ok().and_then(|id| id.parse().ok())
            {
                pending.hand_out(id, body);
            }
        }
    }
    pending.close();
}

fn split_line(message: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    Some((message.slice(..end), message.slice(end + 1..)))
}
