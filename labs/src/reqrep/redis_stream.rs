//! Request/reply over Redis streams: one stream of requests, and one stream of replies for each
//! requester.
//!
//! Wire: a requester appends an entry with the fields `reply-to`, `id` and `body` (`XADD`), and a
//! consumer group shares the requests among the responders (`XREADGROUP`). A responder appends the
//! reply to the stream named in `reply-to` (`XADD`), and then acks the request (`XACK` and `XDEL`);
//! the requester reads its stream (`XREAD`). By hand:
//! `redis-cli XADD PLACE:stream '*' reply-to me id 7 body hello`.
//!
//! Confirms: a request by its reply; before that, Redis's answer to the `XADD` says only that the
//! request is in the stream. `ask` waits for the reply without a limit.
//!
//! Survives: kill -9 of a responder: a request stays pending until its reply is written, so another
//! responder answers it after `claim-ms` (`XAUTOCLAIM`). After a cut connection or a restart of
//! Redis, the recovery layer (`labs/src/recovery/`) connects and joins again, and asks again what
//! was not answered. A cut connection loses nothing.
//!
//! Loses: the reply to a requester that has gone (`NOMKSTREAM`): its stream expires after `keep-ms`
//! unless the requester renews it (`PEXPIRE`). A request that was delivered `attempts` times
//! without a reply goes to the stream of dead letters, and its `ask` waits for ever. Everything
//! when Redis dies, unless it runs with `appendonly yes`. A request that is asked again may be done
//! twice; so may one that is not answered within `claim-ms` of its delivery (the lab never extends
//! this time). The second reply reaches nobody.
//!
//! Run it: `just lab reqrep-redis-stream`. Watch it: `redis-cli XPENDING PLACE:stream responders`.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::redis::group::{self, ACKS, Group, LookTimer};
use crate::wire::redis::stream::{Entry, stream};
use crate::wire::redis::{self as wire, PIPELINE_BYTES, Pipelines, Redis, ResumableRequest, WAIT};

const GROUP: &str = "responders";

const PREFETCH: Knob =
    Knob::new("prefetch", 1024, "Requests a responder takes before it has answered the first of them.");
const KEEP_MS: Knob =
    Knob::new("keep-ms", 60_000, "Milliseconds without a sign of life after which a requester has gone.");
/// Such a request probably kills the responders that take it. A responder's other requests are
/// delivered again with it, and counted too, unless the prefetch is 1.
const ATTEMPTS: Knob =
    Knob::new("attempts", 10, "Deliveries of a request without a reply before it is a dead letter.");
/// Dead letters that are kept, approximately; the oldest are removed first.
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
    const BROKER_SINCE: Option<(u32, u32)> = Some((6, 2));
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH, KEEP_MS, ATTEMPTS, group::CLAIM_MS, group::LOOK_MS];

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
        let mut first = redis::cmd("XADD");
        let position = first.arg(&address).arg("*").arg("id").arg(0).query_async(&mut connection).await?;
        let pending = Pending::default();
        let replies = Replies {
            redis: self.redis.connect_to_wait().await?,
            address: address.clone(),
            keep_ms: self.place.knob(KEEP_MS).max(3),
            pending: pending.clone(),
            place: self.place.clone(),
            position,
        };
        let reader = tokio::spawn(replies.hand_out());
        Ok(StreamRequester { connection, requests: stream(&self.place), address, pending, reader })
    }

    async fn responder(&self) -> Result<StreamResponder> {
        let (mut connection, stream) = (self.redis.connect().await?, stream(&self.place));
        // From `0`: requests may have come before the first responder.
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&stream).arg(GROUP).arg("0").arg("MKSTREAM");
        group::created(create.exec_async(&mut connection).await)?;
        let group = Group::join(&self.place, &mut connection, stream, GROUP).await?;
        Ok(StreamResponder {
            look: group.timer(),
            group,
            connection: self.redis.connect_to_wait().await?,
            taken: VecDeque::new(),
            request: ResumableRequest::none(),
            held: 0,
            prefetch: self.place.knob(PREFETCH).max(1),
            pipelines: Pipelines::new(connection),
            replies: redis::pipe(),
            bytes: 0,
            answered: Vec::new(),
            attempts: self.place.knob(ATTEMPTS).max(1),
            place: self.place.clone(),
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
    place: Place,
    /// The entry that was read last.
    position: String,
}

impl Replies {
    /// Hands every reply to the ask that waits for it.
    async fn hand_out(mut self) {
        let why = loop {
            let entries = match self.next().await {
                Ok(entries) => entries,
                Err(error) => break error,
            };
            for mut entry in entries {
                let id = entry.take("id").and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok());
                let (id, body) = id.zip(entry.take("body")).unzip();
                self.pending.hand_out_or_skip(id, body.unwrap_or_default(), &self.place);
                self.position = entry.id;
            }
        };
        self.pending.close_because(&format!("lost the connection to Redis ({why})"));
    }

    /// Drops what was read, renews the lease, and waits for more.
    async fn next(&mut self) -> RedisResult<Vec<Entry>> {
        let position = self.position.as_str();
        let mut next = redis::pipe();
        next.cmd("XTRIM").arg(&self.address).arg("MINID").arg(position).ignore();
        next.cmd("PEXPIRE").arg(&self.address).arg(self.keep_ms).ignore();
        next.cmd("XREAD")
            .arg("COUNT")
            .arg(BATCH)
            .arg("BLOCK")
            .arg((self.keep_ms / 3).min(WAIT.as_millis() as usize));
        next.arg("STREAMS").arg(&self.address).arg(position);
        let (replies,): (Value,) = next.query_async(&mut self.redis).await?;
        Ok(Entry::list_of_one_stream(replies))
    }
}

/// Answers requests from the shared stream, and appends each reply to the request's `reply-to`.
pub struct StreamResponder {
    group: Group,
    /// For `XREADGROUP`, which waits: a connection of its own.
    connection: MultiplexedConnection,
    /// Requests that were read and not handed out yet, each with its attempt.
    taken: VecDeque<(Entry, u32)>,
    /// The `XREADGROUP` that waits for requests.
    request: ResumableRequest<Vec<(Entry, u32)>>,
    /// Requests that are pending with us: handed out and not answered, or about to be.
    held: usize,
    prefetch: usize,
    look: LookTimer,
    pipelines: Pipelines,
    /// Accepted replies that wait to be written together, and their bytes.
    replies: Pipeline,
    bytes: usize,
    /// The requests that they answer, to be acked behind them.
    answered: Vec<String>,
    attempts: usize,
    dead: String,
    place: Place,
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
            while let Some((mut entry, attempt)) = self.taken.pop_front() {
                let parts = (entry.take("reply-to"), entry.take("id"), entry.take("body"));
                let (Some(address), Some(id), Some(body)) = parts else {
                    // It cannot be answered, and would come again.
                    self.place.message_skipped("an entry without `reply-to`, `id` and `body`");
                    self.settle(entry.id).await?;
                    continue;
                };
                if attempt as usize > self.attempts {
                    let mut bury = redis::cmd("XADD");
                    bury.arg(&self.dead).arg("MAXLEN").arg("~").arg(DEAD).arg("*");
                    bury.arg("reply-to").arg(&address[..]).arg("id").arg(&id[..]).arg("body").arg(&body[..]);
                    self.settle_with(entry.id, bury, body.len()).await?;
                    continue;
                }
                let to = ReturnAddress { address, id };
                return Ok(Some((Command(body), ReplyTo { to, request: entry.id })));
            }
            self.write_replies().await?;
            let count = self.prefetch - self.held;
            if count == 0 && !self.request.is_open() {
                // This responder holds all it may. To answer a request the caller has to drop
                // this future first, because `reply` needs `&mut self`.
                return std::future::pending().await;
            }
            let take = || take(self.group.clone(), self.connection.clone(), count, self.look.is_due());
            self.taken = self.request.resume_or(take).await?.into();
            self.held += self.taken.len();
        }
    }

    async fn reply(&mut self, ReplyTo { to, request }: ReplyTo, reply: Document) -> Result<()> {
        let mut add = redis::cmd("XADD");
        add.arg(&to.address[..]).arg("NOMKSTREAM").arg("*");
        add.arg("id").arg(&to.id[..]).arg("body").arg(&reply.0[..]);
        self.settle_with(request, add, reply.0.len()).await
    }
}

impl StreamResponder {
    /// Accepts what answers a request, and the ack of that request.
    async fn settle_with(&mut self, request: String, answer: Cmd, bytes: usize) -> Result<()> {
        self.replies.add_command(answer);
        self.bytes += bytes;
        self.settle(request).await?;
        if self.bytes >= PIPELINE_BYTES { self.write_replies().await } else { Ok(()) }
    }

    async fn settle(&mut self, request: String) -> Result<()> {
        self.held -= 1;
        self.answered.push(request);
        if self.answered.len() >= ACKS { self.write_replies().await } else { Ok(()) }
    }

    /// Writes the replies, and behind them the acks: Redis has a reply before it forgets the
    /// request. Cancel-safe.
    async fn write_replies(&mut self) -> Result<()> {
        self.pipelines.room().await?;
        let mut pipeline = std::mem::replace(&mut self.replies, redis::pipe());
        self.bytes = 0;
        if !self.answered.is_empty() {
            pipeline.cmd("XACK").arg(&self.group.stream).arg(GROUP).arg(&self.answered);
            pipeline.cmd("XDEL").arg(&self.group.stream).arg(&self.answered);
            self.answered.clear();
        }
        if pipeline.is_empty() { Ok(()) } else { self.pipelines.put_replies(pipeline) }
    }
}

/// Up to `count` requests, each with its attempt: when it is time to look for them, old ones that
/// nobody has answered; otherwise new ones, for which it waits up to `look-ms`.
async fn take(
    group: Group,
    mut redis: MultiplexedConnection,
    count: usize,
    look: bool,
) -> RedisResult<Vec<(Entry, u32)>> {
    let Group { stream, consumer, claim_ms, look_ms, .. } = &group;
    if look {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(stream).arg(GROUP).arg(consumer).arg(*claim_ms).arg("0-0").arg("COUNT").arg(count);
        let (_, claimed) = Entry::claimed(claim.query_async(&mut redis).await?);
        let claimed = group.with_attempts(&mut redis, claimed).await?;
        if !claimed.is_empty() {
            return Ok(claimed);
        }
    }
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(GROUP).arg(consumer).arg("COUNT").arg(count).arg("BLOCK").arg(*look_ms);
    // `>`: entries that were never delivered to any consumer of the group.
    let new: Value = read.arg("STREAMS").arg(stream).arg(">").query_async(&mut redis).await?;
    Ok(Entry::list_of_one_stream(new).into_iter().map(|entry| (entry, 1)).collect())
}
