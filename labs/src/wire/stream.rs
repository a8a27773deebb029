//! What the labs over Redis streams share: appending to a stream, and being a
//! member of a consumer group, which has entries pending until they are acked.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamPendingCountReply;
use redis::{Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::lab::{Knob, Place};
use crate::wire::redis::{Asked, Outbox, PIPELINE_BYTES, Redis};

pub(crate) const CLAIM_MS: Knob =
    Knob::new("claim-ms", 3_000, "Milliseconds after which a pending entry goes to another consumer.");
pub(crate) const LOOK_MS: Knob = Knob::new("look-ms", 100, "Milliseconds between looks for such entries.");
/// Acks in one command.
const ACKS: usize = 128;
pub(crate) const BATCH: Knob = Knob::new("batch", 256, "Entries in one pipeline.");

/// The stream of a place.
pub(crate) fn stream(place: &Place) -> String {
    format!("{}:stream", place.name())
}

/// One entry of a stream: its identifier, and fields with their values.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    fields: Vec<Value>,
}

impl Entry {
    /// The value of a field, once; `None` where there is none, or no longer.
    pub(crate) fn take(&mut self, field: &str) -> Option<Bytes> {
        let is_it = |name: &Value| matches!(name, Value::BulkString(name) if name == field.as_bytes());
        let at = self.fields.chunks_exact(2).position(|pair| is_it(&pair[0]))?;
        match std::mem::replace(&mut self.fields[2 * at + 1], Value::Nil) {
            Value::BulkString(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The entries of an answer, `[[ID, [FIELD, VALUE, …]], …]`. Written out,
    /// because the crate's own type makes a map of every entry.
    pub(crate) fn list(answer: Value) -> Vec<Self> {
        let Value::Array(entries) = answer else { return Vec::new() };
        entries.into_iter().filter_map(Self::one).collect()
    }

    /// The entries of a read of one stream, `[[STREAM, entries]]`.
    pub(crate) fn list_of_one_stream(answer: Value) -> Vec<Self> {
        let Value::Array(mut streams) = answer else { return Vec::new() };
        let Some(Value::Array(mut stream)) = streams.pop() else { return Vec::new() };
        stream.pop().map(Self::list).unwrap_or_default()
    }

    fn one(entry: Value) -> Option<Self> {
        let Value::Array(parts) = entry else { return None };
        let mut parts = parts.into_iter();
        let (Some(Value::BulkString(id)), fields) = (parts.next(), parts.next()) else { return None };
        // What was deleted while it was pending has an identifier and no fields.
        let fields = if let Some(Value::Array(fields)) = fields { fields } else { Vec::new() };
        Some(Self { id: String::from_utf8(id).ok()?, fields })
    }
}

/// Appends entries, in pipelines of which several are on their way.
pub(crate) struct Appender {
    outbox: Outbox,
    batch: usize,
    accepted: Pipeline,
    bytes: usize,
}

impl Appender {
    pub(crate) async fn new(place: &Place, redis: &Redis) -> Result<Self> {
        let outbox = Outbox::new(redis.connect().await?);
        Ok(Self { outbox, batch: place.knob(BATCH).max(1), accepted: redis::pipe(), bytes: 0 })
    }

    /// Accepts an entry. `most` entries, more or less, stay in the stream; the oldest go.
    pub(crate) async fn append(
        &mut self,
        stream: &str,
        most: Option<usize>,
        fields: &[(&str, &[u8])],
    ) -> Result<()> {
        let add = self.accepted.cmd("XADD").arg(stream);
        if let Some(most) = most {
            // More or less: Redis drops whole nodes of a hundred entries.
            add.arg("MAXLEN").arg("~").arg(most);
        }
        add.arg("*");
        for (field, value) in fields {
            add.arg(*field).arg(*value);
            self.bytes += value.len();
        }
        if self.accepted.len() >= self.batch || self.bytes >= PIPELINE_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Hands over what was accepted.
    pub(crate) async fn write(&mut self) -> Result<()> {
        self.outbox.room().await?;
        if self.accepted.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.outbox.put(std::mem::replace(&mut self.accepted, redis::pipe()))
    }

    /// Redis has answered with the identifier of every entry: they are confirmed.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.write().await?;
        self.outbox.drain().await
    }
}

/// How to become a member of a group.
pub(crate) struct Joining {
    pub(crate) stream: String,
    pub(crate) group: String,
    /// Where a new group begins: `0`, with what is there, or `$`, from now on.
    pub(crate) from: &'static str,
    /// Entries that may be pending with us.
    pub(crate) prefetch: usize,
    /// The only member: whatever is pending was ours, and is taken over at once.
    pub(crate) alone: bool,
    /// Whether an entry is deleted when it is acked.
    pub(crate) delete: bool,
}

/// Entries, each with its attempt, and how far the taking over has come.
type Taken = (Vec<(Entry, u32)>, Option<String>);

/// A member of a consumer group.
pub(crate) struct Member {
    group: Group,
    connection: MultiplexedConnection,
    outbox: Outbox,
    results: Pipeline,
    bytes: usize,
    acked: Vec<String>,
    nacked: Vec<String>,
    delete: bool,
    came: VecDeque<(Entry, u32)>,
    asked: Asked<Taken>,
    /// Entries that are pending with us: handed out and unsettled, or about to be.
    held: usize,
    prefetch: usize,
    /// How far all that is pending has been taken over, while that is not all.
    taking_over: Option<String>,
    look_at: Instant,
}

impl Member {
    pub(crate) async fn join(place: &Place, redis: &Redis, joining: Joining) -> Result<Self> {
        let mut connection = redis.connect().await?;
        let mut create = redis::cmd("XGROUP");
        create.arg("CREATE").arg(&joining.stream).arg(&joining.group).arg(joining.from).arg("MKSTREAM");
        match create.exec_async(&mut connection).await {
            Err(error) if error.code() == Some("BUSYGROUP") => {} // Another was first, or we were here before.
            created => created.context("cannot create the consumer group")?,
        }
        let mut number = redis::cmd("INCR");
        number.arg(format!("{}:joined", place.name()));
        let me: u64 = number.query_async(&mut connection).await.context("cannot join the group")?;
        Ok(Self {
            group: Group {
                stream: joining.stream,
                name: joining.group,
                me: format!("consumer-{me}"),
                claim_ms: place.knob(CLAIM_MS),
                look_ms: place.knob(LOOK_MS).max(1),
            },
            connection: redis.connect_to_wait().await?,
            outbox: Outbox::new(connection),
            results: redis::pipe(),
            bytes: 0,
            acked: Vec::new(),
            nacked: Vec::new(),
            delete: joining.delete,
            came: VecDeque::new(),
            asked: Asked::nothing(),
            held: 0,
            prefetch: joining.prefetch.max(1),
            taking_over: joining.alone.then(|| "0-0".to_owned()),
            look_at: Instant::now(),
        })
    }

    /// The next entry, and how often it was delivered, with this time. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<(Entry, u32)> {
        loop {
            if let Some(next) = self.came.pop_front() {
                return Ok(next);
            }
            self.write().await?;
            let count = self.prefetch - self.held;
            if count == 0 && !self.asked.is_asked() {
                // All we may hold is handed out. Settling needs `&mut self`, so
                // whoever waits here has given this future up by then.
                return std::future::pending().await;
            }
            let look = self.look_at <= Instant::now();
            if look && !self.asked.is_asked() {
                self.look_at = Instant::now() + Duration::from_millis(self.group.look_ms as u64);
            }
            let (group, redis) = (&self.group, &self.connection);
            let ask = || group.clone().take(redis.clone(), count, self.taking_over.clone(), look);
            let (came, taking_over) = self.asked.or_ask(ask).await?;
            self.held += came.len();
            self.came = came.into();
            self.taking_over = taking_over;
        }
    }

    /// Settles an entry: it is no longer pending.
    pub(crate) async fn ack(&mut self, id: String) -> Result<()> {
        self.held -= 1;
        self.acked.push(id);
        if self.acked.len() >= ACKS { self.write().await } else { Ok(()) }
    }

    /// Gives an entry back.
    pub(crate) async fn nack(&mut self, id: String) -> Result<()> {
        self.held -= 1;
        self.nacked.push(id);
        if self.nacked.len() >= ACKS { self.write().await } else { Ok(()) }
    }

    /// Settles an entry with what came of it: `result` goes to Redis first.
    pub(crate) async fn ack_with(&mut self, id: String, result: redis::Cmd, bytes: usize) -> Result<()> {
        self.results.add_command(result);
        self.bytes += bytes;
        self.ack(id).await?;
        if self.bytes >= PIPELINE_BYTES { self.write().await } else { Ok(()) }
    }

    /// Hands over what was accepted. Cancel-safe.
    pub(crate) async fn write(&mut self) -> Result<()> {
        self.outbox.room().await?;
        let mut pipeline = std::mem::replace(&mut self.results, redis::pipe());
        self.bytes = 0;
        let Group { stream, name, me, claim_ms, .. } = &self.group;
        if !self.acked.is_empty() {
            pipeline.cmd("XACK").arg(stream).arg(name).arg(&self.acked);
            if self.delete {
                pipeline.cmd("XDEL").arg(stream).arg(&self.acked);
            }
            self.acked.clear();
        }
        if !self.nacked.is_empty() {
            // It looks as if it had been pending for long. JUSTID: this is no
            // delivery, and does not count as one.
            let claim = pipeline.cmd("XCLAIM").arg(stream).arg(name).arg(me).arg(0);
            claim.arg(std::mem::take(&mut self.nacked)).arg("IDLE").arg(*claim_ms).arg("JUSTID");
        }
        if pipeline.is_empty() { Ok(()) } else { self.outbox.put(pipeline) }
    }

    /// Redis knows all that was settled.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.write().await?;
        self.outbox.drain().await
    }

    /// Gives back what is unsettled. Our name stays in the group: to delete it
    /// would delete what is pending with it, before anybody could claim that.
    pub(crate) async fn close(mut self) -> Result<()> {
        // What was asked for may still come: wait for it, it is not long.
        if self.asked.is_asked() {
            self.asked.or_ask(|| std::future::ready(Ok((Vec::new(), None)))).await?;
        }
        self.flush().await?;
        loop {
            let mut pending = redis::cmd("XPENDING");
            pending.arg(&self.group.stream).arg(&self.group.name);
            pending.arg("-").arg("+").arg(1000).arg(&self.group.me);
            let pending: StreamPendingCountReply = pending.query_async(&mut self.connection).await?;
            // Those given back already are as old as they were made.
            let mine = pending.ids.into_iter().filter(|entry| entry.last_delivered_ms < self.group.claim_ms);
            self.nacked = mine.map(|entry| entry.id).collect();
            if self.nacked.is_empty() {
                return Ok(());
            }
            self.flush().await?;
        }
    }
}

/// The group, as one member sees it.
#[derive(Clone)]
struct Group {
    stream: String,
    name: String,
    me: String,
    claim_ms: usize,
    look_ms: usize,
}

impl Group {
    /// Up to `count` entries, each with its attempt, and how far the taking
    /// over has come: first what it takes over, then, when it is time to look
    /// for them, old ones that nobody has settled, else new ones.
    async fn take(
        self,
        mut redis: MultiplexedConnection,
        count: usize,
        mut taking_over: Option<String>,
        look: bool,
    ) -> RedisResult<Taken> {
        while let Some(from) = taking_over {
            let (next, claimed) = self.claim(&mut redis, 0, &from, count).await?;
            taking_over = (next != "0-0").then_some(next);
            if !claimed.is_empty() {
                return Ok((claimed, taking_over));
            }
        }
        if look {
            let (_, claimed) = self.claim(&mut redis, self.claim_ms, "0-0", count).await?;
            if !claimed.is_empty() {
                return Ok((claimed, None));
            }
        }
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg(&self.name)
            .arg(&self.me)
            .arg("COUNT")
            .arg(count)
            .arg("BLOCK")
            .arg(self.look_ms);
        let new: Value = read.arg("STREAMS").arg(&self.stream).arg(">").query_async(&mut redis).await?;
        Ok((Entry::list_of_one_stream(new).into_iter().map(|entry| (entry, 1)).collect(), None))
    }

    /// Takes over what has been pending for so long, and says where to go on.
    async fn claim(
        &self,
        redis: &mut MultiplexedConnection,
        idle_ms: usize,
        from: &str,
        count: usize,
    ) -> RedisResult<(String, Vec<(Entry, u32)>)> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(&self.stream).arg(&self.name).arg(&self.me).arg(idle_ms).arg(from).arg("COUNT").arg(count);
        // What was deleted meanwhile is in a third part, and no longer pending.
        let (next, claimed, _): (String, Value, Value) = claim.query_async(redis).await?;
        let claimed = Entry::list(claimed);
        if claimed.is_empty() {
            return Ok((next, Vec::new()));
        }
        // The reply does not say how often each was delivered; the list does.
        let mut counts = redis::pipe();
        for entry in &claimed {
            counts.cmd("XPENDING").arg(&self.stream).arg(&self.name).arg(&entry.id).arg(&entry.id).arg(1);
        }
        let counts: Vec<StreamPendingCountReply> = counts.query_async(redis).await?;
        let attempts = counts.iter().map(|of| of.ids.first().map_or(2, |entry| entry.times_delivered as u32));
        Ok((next, claimed.into_iter().zip(attempts).collect()))
    }
}
