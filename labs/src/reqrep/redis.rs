//! Request/reply over Redis lists: one list of requests on which responders
//! compete, one list of replies per requester.
//!
//! On the wire a text line stands in front of the body. A request begins with
//! its return address and its correlation identifier, `REPLY-LIST ID\n`, a
//! reply with the identifier alone, `ID\n`; so `redis-cli` can take part:
//! `RPUSH PLACE:requests "me 7\nhello"`, then `BLPOP me 0`.
//!
//! Promises: a reply reaches the `ask` it answers or nobody. Loses: a request
//! whose responder dies, so a caller who must not wait for ever needs a timeout.
//!
//! Run it: `just lab reqrep-redis`.

use std::collections::{HashSet, VecDeque};

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::pending::Pending;
use crate::wire::redis::{self as wire, Asked, Outbox, Redis};

/// Requests or replies popped with one command, and replies in one pipeline.
const BATCH: usize = 256;
/// How long a reply waits for a requester that may have gone, in milliseconds.
const KEEP_MS: usize = 60_000;

/// A list of requests, and a list of replies for each requester.
pub struct RedisLists {
    place: Place,
    redis: Redis,
}

impl Lab for RedisLists {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl RequestReply for RedisLists {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = ListRequester;
    type Responder = ListResponder;

    async fn requester(&self) -> Result<ListRequester> {
        let mut connection = self.redis.connect().await?;
        let number: u64 = redis::cmd("INCR")
            .arg(key(&self.place, "requesters"))
            .query_async(&mut connection)
            .await
            .context("cannot get a number of our own")?;
        let replies = key(&self.place, &format!("replies:{number}"));
        let pending = Pending::default();
        let count = self.place.knob("batch", BATCH).max(1);
        let reader =
            read_replies(self.redis.connect_to_wait().await?, replies.clone(), count, pending.clone());
        Ok(ListRequester {
            connection,
            requests: key(&self.place, "requests"),
            replies,
            pending,
            reader: tokio::spawn(reader),
        })
    }

    async fn responder(&self) -> Result<ListResponder> {
        Ok(ListResponder {
            connection: self.redis.connect_to_wait().await?,
            outbox: Outbox::new(self.redis.connect().await?),
            requests: key(&self.place, "requests"),
            batch: self.place.knob("batch", BATCH).max(1),
            keep_ms: self.place.knob("keep-ms", KEEP_MS),
            popped: VecDeque::new(),
            asked: Asked::nothing(),
            replies: Vec::new(),
        })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct ListRequester {
    connection: MultiplexedConnection,
    requests: String,
    replies: String,
    pending: Pending,
    reader: JoinHandle<()>,
}

impl Requester for ListRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let line = format!("{} {}\n", self.replies, ticket.id());
        let message = [line.as_bytes(), &request].concat();
        // The connection is shared: requests of other asks travel in the same write.
        let mut connection = self.connection.clone();
        let mut push = redis::cmd("RPUSH");
        push.arg(&self.requests).arg(message);
        push.exec_async(&mut connection).await.context("cannot push the request")?;
        Ok(Document(ticket.reply().await?))
    }
}

impl Drop for ListRequester {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Answers from the shared list, and pushes replies where the request says.
pub struct ListResponder {
    connection: MultiplexedConnection,
    outbox: Outbox,
    requests: String,
    batch: usize,
    keep_ms: usize,
    popped: VecDeque<Bytes>,
    asked: Asked<Vec<Vec<u8>>>,
    replies: Vec<(ReplyTo, Document)>,
}

/// The return address and the correlation identifier, as the request had them.
pub struct ReplyTo {
    list: Bytes,
    id: Bytes,
}

impl Responder for ListResponder {
    type ReplyTo = ReplyTo;

    async fn next(&mut self) -> Result<Option<(Command, ReplyTo)>> {
        loop {
            while let Some(message) = self.popped.pop_front() {
                // What has no return address cannot be answered, and is dropped.
                if let Some((line, body)) = split_line(&message)
                    && let Some(space) = line.iter().rposition(|byte| *byte == b' ')
                {
                    return Ok(Some((
                        Command(body),
                        ReplyTo { list: line.slice(..space), id: line.slice(space + 1..) },
                    )));
                }
            }
            self.write().await?;
            let pop = || wire::take(self.connection.clone(), self.requests.clone(), self.batch);
            self.popped = self.asked.or_ask(pop).await?.into_iter().map(Bytes::from).collect();
        }
    }

    async fn reply(&mut self, to: ReplyTo, reply: Document) -> Result<()> {
        self.replies.push((to, reply));
        if self.replies.len() >= self.batch { self.write().await } else { Ok(()) }
    }
}

impl ListResponder {
    async fn write(&mut self) -> Result<()> {
        self.outbox.room().await?;
        if self.replies.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let mut lists = HashSet::new();
        for (to, body) in self.replies.drain(..) {
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

/// Hands every reply to the ask that waits for it.
async fn read_replies(connection: MultiplexedConnection, list: String, count: usize, pending: Pending) {
    while let Ok(replies) = wire::take(connection.clone(), list.clone(), count).await {
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

fn key(place: &Place, name: &str) -> String {
    format!("{}:{name}", place.name())
}
