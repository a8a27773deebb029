//! Redis and its streams, as the labs use them through the crate redis.
//!
//! The commands stand in each lab's file: `RPUSH`, `BLMPOP`, `PUBLISH`, `XADD`,
//! `XREADGROUP`, `XACK` and the others. Here is what several labs need around them:
//!
//! - [`Redis`]: how to connect, for commands that are answered at once, for
//!   commands that wait, and for labs that read Redis's protocol themselves.
//! - [`Pipelines`], [`CommandBatch`]: several pipelines in flight, with every answer read.
//! - [`ResumableRequest`]: a request whose answer is not lost when the caller of
//!   `next` or `recv` is cancelled.
//! - [`resp`]: Redis's protocol (RESP 2), as far as publish/subscribe needs it.
//! - [`stream`]: the entries of a stream, as they stand in an answer.
//! - [`group`]: what a consumer of a consumer group must know of it.
//! - [`RedisSocket`]: a plain TCP or Unix socket, for labs that speak the protocol themselves.
//! - [`remove_keys`]: how a lab removes what it made.
//!
//! A link that is silent is noticed: an answer takes at most 5 s, one that waits for messages 1 s
//! longer, and a subscriber that hears nothing for 3 s sends a PING.
//!
//! It promises that commands of one connection are written in order while fewer than
//! 16,384 of them wait for their answer, and that an error in an answer comes out of the next call that waits.
//!
//! Used by every `*-redis` and `*-redis-stream` lab. The protocol: *Redis
//! serialization protocol specification*, and the page of each command, on redis.io.

pub(crate) mod group;
mod pipelines;
pub(crate) mod resp;
mod resumable;
mod socket;
pub(crate) mod stream;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::lab::{BrokerAddress, Login, Place};
pub(crate) use pipelines::{CommandBatch, PIPELINE_BYTES, Pipelines};
pub(crate) use resumable::ResumableRequest;
pub(crate) use socket::RedisSocket;

/// How long an answer may take: then the link is silent, and the connection counts as lost. The
/// crate's default of half a second fails a server that is busy, not one that is dead.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a command waits for messages before it is given again. An answer that takes longer than
/// this and [`ANSWER_WITHIN`] does not come any more.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// Commands of one connection that may wait to be written. When so many wait, further ones
/// queue up for a place, and the crate lets a new one overtake those that have just got theirs:
/// commands would be written out of order. So this is more than a lab has in flight at once.
const WAITING: usize = 16_384;

/// A Redis server that labs connect to.
#[derive(Clone)]
pub(crate) struct Redis {
    client: Client,
    address: BrokerAddress,
}

impl Redis {
    /// The server of this place. Connects once, to see that it answers.
    pub(crate) async fn at(place: &Place) -> Result<Self> {
        let address = place.broker()?.clone();
        // Nagle's algorithm would hold back the small commands that follow one another.
        let info = address.redis_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).with_context(|| format!("cannot use {address}"))?;
        let redis = Self { client, address };
        redis.connect().await?;
        Ok(redis)
    }

    /// A connection for commands that are answered at once.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        self.connection(ANSWER_WITHIN).await
    }

    /// A connection for commands that wait, for at most [`WAIT`]: `BLMPOP`, say. What is written
    /// behind such a command waits with it, so it has a connection of its own.
    pub(crate) async fn connect_to_wait(&self) -> Result<MultiplexedConnection> {
        self.connection(WAIT + ANSWER_WITHIN).await
    }

    /// A plain socket, after login, for labs that write and read Redis's protocol themselves.
    /// Channels do not belong to a database, so none is selected.
    pub(crate) async fn socket(&self) -> Result<RedisSocket> {
        let mut socket = RedisSocket::connect(&self.address).await?;
        let (user, password) = self.address.login().map_or(("", None), Login::reveal);
        if let Some(password) = password {
            let mut auth = redis::cmd("AUTH");
            if !user.is_empty() {
                auth.arg(user);
            }
            socket.write_all(&auth.arg(password).get_packed_command()).await?;
            let mut answer = [0; 5];
            timeout(ANSWER_WITHIN, socket.read_exact(&mut answer))
                .await?
                .context("Redis did not answer to AUTH")?;
            ensure!(&answer == b"+OK\r\n", "Redis refused the login");
        }
        Ok(socket)
    }

    async fn connection(&self, answer_within: Duration) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(answer_within))
            .set_pipeline_buffer_size(WAITING);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        connecting.await.with_context(|| format!("cannot connect to Redis at {}", self.address))
    }
}

/// Removes every key of the place; its namespaces have keys of their own.
pub(crate) async fn remove_keys(place: &Place) -> Result<()> {
    let mut connection = Redis::at(place).await?.connect().await?;
    let keys = format!("{}:*", literally(&place.name()));
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&keys).arg("COUNT").arg(1000);
        let (next, found): (u64, Vec<Vec<u8>>) =
            scan.query_async(&mut connection).await.context("cannot list the keys to remove")?;
        if !found.is_empty() {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(found);
            unlink.exec_async(&mut connection).await.context("cannot remove keys")?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

/// A glob that matches `text` and nothing else.
pub(crate) fn literally(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for c in text.chars() {
        if "*?[]^-\\".contains(c) {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}
