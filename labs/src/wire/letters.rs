//! Letters on Redis lists, which have no place for a return address but the
//! message itself: see [`return_address`](crate::reqrep::return_address).

use std::collections::{HashSet, VecDeque};

use anyhow::Result;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::{ReturnAddress, open_reply, open_request, reply_letter};
use crate::wire::redis::{self as wire, Asked, Outbox};

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
    pub(crate) fn here(&mut self) -> Option<(Bytes, ReturnAddress)> {
        while let Some(message) = self.popped.pop_front() {
            // What has no return address cannot be answered, and is dropped.
            if let Some((to, body)) = open_request(&message) {
                return Some((body, to));
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
    accepted: Vec<(ReturnAddress, Bytes)>,
}

impl Replies {
    pub(crate) fn through(connection: MultiplexedConnection, batch: usize, keep_ms: usize) -> Self {
        Self { outbox: Outbox::new(connection), batch, keep_ms, accepted: Vec::new() }
    }

    pub(crate) async fn push(&mut self, to: ReturnAddress, body: Bytes) -> Result<()> {
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
            pipeline.cmd("RPUSH").arg(&to.address[..]).arg(reply_letter(&to.id, &body));
            lists.insert(to.address);
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
            if let Some((id, body)) = open_reply(&reply) {
                pending.hand_out(id, body);
            }
        }
    }
    pending.close();
}
