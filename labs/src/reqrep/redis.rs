//! Request/reply over Redis lists: one list of requests that responders compete for, and one list
//! of replies for each requester.
//!
//! Wire: both lists are pushed at the tail (`RPUSH`) and popped at the head (`BLMPOP`). A line of
//! text stands in front of the body. A request begins with its return address and its correlation
//! identifier, `REPLY-LIST ID\n`; a reply begins with the identifier, `ID\n`. So one can take part
//! at the prompt of `redis-cli`: `RPUSH PLACE:requests "me 7\nhello"`, then `BLPOP me 0`.
//!
//! Confirms: a request by its reply; before that, Redis's answer to the `RPUSH` says only that the
//! request is on the list. `ask` waits for the reply without a limit.
//!
//! Survives: a responder that is late, is slow or dies: requests that it has not popped wait for
//! another. A requester that gives up or dies: its reply reaches nobody, and what is left on its
//! list expires after `keep-ms`. After a cut connection or a restart of Redis, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the requests, see Loses.
//!
//! Loses: requests that a responder had popped when it died or its connection was cut, up to
//! `batch` and those it was working on, and as many replies that it had not pushed. Their `ask`
//! waits for ever, unless the caller sets a timeout. When a requester loses its connection, each
//! open `ask` ends with `ConnectionLost`: the recovery layer does not ask again. Replies that a
//! requester does not pop within `keep-ms`, for example because it stalls. Everything when Redis
//! dies, unless it runs with `appendonly yes`.
//!
//! Run it: `just lab reqrep-redis`. Watch it: `redis-cli LLEN PLACE:requests`.

use std::collections::{HashSet, VecDeque};

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::{
    ReturnAddress, open_reply, open_request, reply_message, request_message,
};
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::redis::{self as wire, Pipelines, Redis, ResumableRequest, WAIT};

const BATCH: Knob =
    Knob::new("batch", 256, "Requests or replies popped with one command, and replies in one pipeline.");
const KEEP_MS: Knob =
    Knob::new("keep-ms", 60_000, "Milliseconds that a reply waits for a requester that may have gone.");

/// A list of requests, and a list of replies for each requester.
pub struct RedisLists {
    place: Place,
    redis: Redis,
}

impl Lab for RedisLists {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const BROKER_SINCE: Option<(u32, u32)> = Some((7, 0));
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[BATCH, KEEP_MS];

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
        let count = self.place.knob(BATCH).max(1);
        let redis = self.redis.connect_to_wait().await?;
        let reader = hand_out(redis, replies.clone(), count, pending.clone(), self.place.clone());
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
            requests: key(&self.place, "requests"),
            batch: self.place.knob(BATCH).max(1),
            popped: VecDeque::new(),
            pop: ResumableRequest::none(),
            pipelines: Pipelines::new(self.redis.connect().await?),
            replies: Vec::new(),
            keep_ms: self.place.knob(KEEP_MS).max(1),
            place: self.place.clone(),
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
        let message = request_message(&self.replies, ticket.id(), &request);
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

/// Hands every reply on the requester's list to the `ask` that waits for it.
async fn hand_out(redis: MultiplexedConnection, list: String, batch: usize, pending: Pending, place: Place) {
    let why = loop {
        match pop(redis.clone(), list.clone(), batch).await {
            Ok(replies) => {
                for reply in replies.into_iter().map(Bytes::from) {
                    let (id, body) = open_reply(&reply).unzip();
                    pending.hand_out_or_skip(id, body.unwrap_or_default(), &place);
                }
            }
            Err(error) => break error,
        }
    };
    pending.close_because(&format!("lost the connection to Redis ({why})"));
}

/// Answers requests from the shared list, and pushes each reply to the request's return address.
pub struct ListResponder {
    /// For `BLMPOP`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    requests: String,
    /// Requests in one `BLMPOP`, and replies in one pipeline.
    batch: usize,
    /// Requests that were popped and not handed out yet.
    popped: VecDeque<Bytes>,
    /// The `BLMPOP` that waits for requests.
    pop: ResumableRequest<Vec<Vec<u8>>>,
    pipelines: Pipelines,
    /// Accepted replies that wait to be pushed together.
    replies: Vec<(ReturnAddress, Document)>,
    place: Place,
    keep_ms: usize,
}

impl Responder for ListResponder {
    type ReplyTo = ReturnAddress;

    async fn next(&mut self) -> Result<Option<(Command, ReturnAddress)>> {
        loop {
            while let Some(request) = self.popped.pop_front() {
                match open_request(&request) {
                    // A reply that is pushed to the list of requests would make that list expire.
                    Some((to, body)) if !to.address.is_empty() && to.address != self.requests => {
                        return Ok(Some((Command(body), to)));
                    }
                    _ => self.place.message_skipped("a request without a return address"),
                }
            }
            self.write_replies().await?;
            let pop = || pop(self.connection.clone(), self.requests.clone(), self.batch);
            self.popped = self.pop.resume_or(pop).await?.into_iter().map(Bytes::from).collect();
        }
    }

    async fn reply(&mut self, to: ReturnAddress, reply: Document) -> Result<()> {
        self.replies.push((to, reply));
        if self.replies.len() >= self.batch { self.write_replies().await } else { Ok(()) }
    }
}

impl ListResponder {
    /// Pushes the accepted replies, all in one pipeline. Cancel-safe.
    async fn write_replies(&mut self) -> Result<()> {
        self.pipelines.room().await?;
        if self.replies.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let mut lists = HashSet::new();
        for (to, reply) in self.replies.drain(..) {
            pipeline.cmd("RPUSH").arg(&to.address[..]).arg(reply_message(&to.id, &reply.0));
            lists.insert(to.address);
        }
        // A requester may have gone, and nobody else would ever empty its list.
        for list in lists {
            pipeline.cmd("PEXPIRE").arg(&list[..]).arg(self.keep_ms);
        }
        self.pipelines.put_replies(pipeline)
    }
}

/// Takes up to `count` items from the head of a list; waits a second while it is empty.
async fn pop(mut redis: MultiplexedConnection, list: String, count: usize) -> RedisResult<Vec<Vec<u8>>> {
    let mut pop = redis::cmd("BLMPOP");
    pop.arg(WAIT.as_secs_f32()).arg(1).arg(list).arg("LEFT").arg("COUNT").arg(count);
    let popped: Option<(redis::Value, Vec<Vec<u8>>)> = pop.query_async(&mut redis).await?;
    Ok(popped.map(|(_list, items)| items).unwrap_or_default())
}

fn key(place: &Place, name: &str) -> String {
    format!("{}:{name}", place.name())
}
