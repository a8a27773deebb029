//! Request/reply over Redis streams: one stream of requests, whose consumer
//! group shares them among the responders, and one stream of replies for every
//! requester. An entry has its return address and its correlation identifier
//! as fields; `redis-cli XADD PLACE:stream '*' reply-to me id 7 body hello` asks.
//!
//! A request stays pending until its reply is written, so unlike on a list the
//! request of a responder that died is answered by another, after `claim-ms`:
//! at least once, perhaps twice, and the second reply finds nobody. A request
//! that `attempts` responders died of goes to the stream of dead letters. A return
//! address is a lease: it expires unless its requester renews it, and a reply
//! to one that has gone is dropped (`NOMKSTREAM`). Loses everything with Redis,
//! unless that runs with `appendonly yes`.
//!
//! Run it: `just lab reqrep-redis-stream`.

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::redis::{self as wire, Redis};
use crate::wire::stream::{self, Entry, Joining, Member, stream};

const PREFETCH: Knob =
    Knob::new("prefetch", 1024, "Requests a responder takes before it has answered the first of them.");
const KEEP_MS: Knob =
    Knob::new("keep-ms", 60_000, "Milliseconds without a sign of life after which a requester has gone.");
/// Such a request kills the responders that take it. With a prefetch of 1 it is the only one.
const ATTEMPTS: Knob =
    Knob::new("attempts", 10, "Deliveries of a request without a reply before it is a dead letter.");
/// Dead letters that are kept, about; the oldest go first.
const DEAD: usize = 1000;
/// Replies in one answer of Redis.
const BATCH: usize = 256;

/// A stream of requests, and a stream of replies for each requester.
pub struct RedisStream {
    place: Place,
    redis: Redis,
}

impl Lab for RedisStream {
    const TRANSPORT: &'static str = "redis-stream";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[PREFETCH, KEEP_MS, ATTEMPTS, stream::CLAIM_MS, stream::LOOK_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl RequestReply for RedisStream {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = StreamRequester;
    type Responder = StreamResponder;

    async fn requester(&self) -> Result<StreamRequester> {
        let mut connection = self.redis.connect().await?;
        let number: u64 = redis::cmd("INCR")
            .arg(format!("{}:requesters", self.place.name()))
            .query_async(&mut connection)
            .await
            .context("cannot get a number of our own")?;
        let address = format!("{}:replies:{number}", self.place.name());
        // The first entry makes the stream; it answers nobody.
        redis::cmd("XADD").arg(&address).arg("*").arg("id").arg(0).exec_async(&mut connection).await?;
        let pending = Pending::default();
        let replies = Replies {
            redis: self.redis.connect_to_wait().await?,
            address: address.clone(),
            keep_ms: self.place.knob(KEEP_MS).max(3),
            pending: pending.clone(),
        };
        let reader = tokio::spawn(replies.hand_out());
        Ok(StreamRequester { connection, requests: stream(&self.place), address, pending, reader })
    }

    async fn responder(&self) -> Result<StreamResponder> {
        let joining = Joining {
            stream: stream(&self.place),
            group: "responders".to_owned(),
            // Requests may have come before the first responder.
            from: "0",
            prefetch: self.place.knob(PREFETCH),
            alone: false,
            delete: true,
        };
        Ok(StreamResponder {
            member: Member::join(&self.place, &self.redis, joining).await?,
            attempts: self.place.knob(ATTEMPTS).max(1),
            dead: format!("{}:dead", self.place.name()),
        })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct StreamRequester {
    connection: MultiplexedConnection,
    requests: String,
    address: String,
    pending: Pending,
    reader: JoinHandle<()>,
}

impl Requester for StreamRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        // The connection is shared: requests of other asks travel in the same write.
        let mut connection = self.connection.clone();
        let mut add = redis::cmd("XADD");
        add.arg(&self.requests).arg("*").arg("reply-to").arg(&self.address);
        add.arg("id").arg(ticket.id()).arg("body").arg(&request[..]);
        add.exec_async(&mut connection).await.context("cannot append the request")?;
        Ok(Document(ticket.reply().await?))
    }
}

impl Drop for StreamRequester {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The stream of replies, as its requester reads it.
struct Replies {
    redis: MultiplexedConnection,
    address: String,
    keep_ms: usize,
    pending: Pending,
}

impl Replies {
    /// Hands every reply to the ask that waits for it.
    async fn hand_out(mut self) {
        let mut position = "0-0".to_owned();
        while let Ok(entries) = self.after(&position).await {
            for mut entry in entries {
                let id = entry.take("id").and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok());
                if let (Some(id), Some(body)) = (id, entry.take("body")) {
                    self.pending.hand_out(id, body);
                }
                position = entry.id;
            }
        }
        self.pending.close();
    }

    /// Drops what was read, renews the lease, and waits for more.
    async fn after(&mut self, position: &str) -> RedisResult<Vec<Entry>> {
        let mut next = redis::pipe();
        next.cmd("XTRIM").arg(&self.address).arg("MINID").arg(position).ignore();
        next.cmd("PEXPIRE").arg(&self.address).arg(self.keep_ms).ignore();
        next.cmd("XREAD").arg("COUNT").arg(BATCH).arg("BLOCK").arg(self.keep_ms / 3);
        next.arg("STREAMS").arg(&self.address).arg(position);
        let (replies,): (Value,) = next.query_async(&mut self.redis).await?;
        Ok(Entry::list_of_one_stream(replies))
    }
}

/// Answers from the shared stream, and appends replies where the request says.
pub struct StreamResponder {
    member: Member,
    attempts: usize,
    dead: String,
}

/// The return address and the correlation identifier, as the request had them,
/// and the request that this settles.
pub struct ReplyTo {
    to: ReturnAddress,
    request: String,
}

impl Responder for StreamResponder {
    type ReplyTo = ReplyTo;

    async fn next(&mut self) -> Result<Option<(Command, ReplyTo)>> {
        loop {
            let (mut entry, attempt) = self.member.next().await?;
            let parts = (entry.take("reply-to"), entry.take("id"), entry.take("body"));
            let (Some(address), Some(id), Some(body)) = parts else {
                // What has no return address cannot be answered, and is dropped.
                self.member.ack(entry.id).await?;
                continue;
            };
            if attempt as usize > self.attempts {
                let mut bury = redis::cmd("XADD");
                bury.arg(&self.dead).arg("MAXLEN").arg("~").arg(DEAD).arg("*");
                bury.arg("reply-to").arg(&address[..]).arg("id").arg(&id[..]).arg("body").arg(&body[..]);
                self.member.ack_with(entry.id, bury, body.len()).await?;
                continue;
            }
            return Ok(Some((
                Command(body),
                ReplyTo { to: ReturnAddress { address, id }, request: entry.id },
            )));
        }
    }

    /// Redis gets the reply before it forgets the request.
    async fn reply(&mut self, ReplyTo { to, request }: ReplyTo, reply: Document) -> Result<()> {
        let mut add = redis::cmd("XADD");
        add.arg(&to.address[..]).arg("NOMKSTREAM").arg("*");
        add.arg("id").arg(&to.id[..]).arg("body").arg(&reply.0[..]);
        self.member.ack_with(request, add, reply.0.len()).await
    }
}
