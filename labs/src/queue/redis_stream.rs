//! A queue on a Redis stream: `XADD` appends, a consumer group hands each entry
//! to one of its consumers and remembers who has it (the pending entries list),
//! `XACK` forgets it, and `XDEL` right after keeps the stream from growing.
//!
//! Whoever finds an entry that has been pending for `claim-ms` takes it over
//! (`XAUTOCLAIM`): that is how the entries of a consumer that died, and those
//! of one that is too slow, come again, with Redis's own count of deliveries. A
//! nack makes an entry look that old at once.
//!
//! Survives: kill -9 of a consumer; with `appendonly yes` that of Redis, unless
//! `appendfsync everysec`, the default, has put off writing because the disk is
//! busy; with `appendfsync always` a power cut. An entry handled for longer
//! than `claim-ms` is handled twice.
//!
//! Run it: `just lab queue-redis-stream`. Watch it: `redis-cli XINFO GROUPS PLACE:stream`.

use anyhow::{Context, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::queue::{Consumer, Delivery, Producer, Queue};
use crate::wire::redis::{self as wire, Redis};
use crate::wire::stream::{self, Joining, Member, stream};

const GROUP: &str = "consumers";

/// One stream with one consumer group.
pub struct RedisStream {
    place: Place,
    redis: Redis,
}

impl Lab for RedisStream {
    const TRANSPORT: &'static str = "redis-stream";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[stream::CLAIM_MS, stream::LOOK_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl Queue for RedisStream {
    type Producer = StreamProducer;
    type Consumer = StreamConsumer;

    async fn producer(&self) -> Result<StreamProducer> {
        Ok(StreamProducer { connection: self.redis.connect().await?, stream: stream(&self.place) })
    }

    async fn consumer(&self, prefetch: u16) -> Result<StreamConsumer> {
        StreamConsumer::join(&self.place, &self.redis, prefetch).await
    }
}

/// Appends to the stream.
pub struct StreamProducer {
    connection: MultiplexedConnection,
    stream: String,
}

impl Producer for StreamProducer {
    /// Confirmed: Redis has answered with the entry's identifier.
    async fn send(&self, body: Bytes) -> Result<()> {
        // The connection is shared: what other sends append travels in the same write.
        let mut connection = self.connection.clone();
        let mut add = redis::cmd("XADD");
        add.arg(&self.stream).arg("*").arg("body").arg(&body[..]);
        add.exec_async(&mut connection).await.context("the entry is not confirmed")
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// One consumer of the group; a receipt is the entry's identifier.
pub struct StreamConsumer(Member);

impl StreamConsumer {
    pub(crate) async fn join(place: &Place, redis: &Redis, prefetch: u16) -> Result<Self> {
        let joining = Joining {
            stream: stream(place),
            group: GROUP.to_owned(),
            // A queue answers for what came before its first consumer, too.
            from: "0",
            prefetch: prefetch.into(),
            alone: false,
            delete: true,
        };
        Member::join(place, redis, joining).await.map(Self)
    }
}

impl Consumer for StreamConsumer {
    type Item = Bytes;
    type Receipt = String;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, String>>> {
        loop {
            let (mut entry, attempt) = self.0.next().await?;
            match entry.take("body") {
                Some(item) => return Ok(Some(Delivery { item, attempt, receipt: entry.id })),
                // Not one of ours, or deleted by hand: nothing to deliver, now or later.
                None => self.0.ack(entry.id).await?,
            }
        }
    }

    async fn ack(&mut self, receipt: String) -> Result<()> {
        self.0.ack(receipt).await
    }

    async fn nack(&mut self, receipt: String) -> Result<()> {
        self.0.nack(receipt).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}
