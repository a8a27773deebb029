//! What the Redis labs share: how they connect, how they keep many commands
//! on their way without losing an answer, and how they wait for one.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline, RedisResult};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::Place;
use crate::wire::window::Window;

/// Pipelines on their way at once: enough to keep the server busy while the
/// next one is filled, few enough that a sender soon waits for a slow server.
const ON_THEIR_WAY: usize = 8;
/// A pipeline is handed over at this size, however few commands it holds.
pub(crate) const PIPELINE_BYTES: usize = 256 * 1024;
/// The crate's default of half a second fails a busy server, not a dead one.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A Redis server that labs connect to.
#[derive(Clone)]
pub(crate) struct Redis(Client);

impl Redis {
    /// The server of this place, after it has answered once.
    pub(crate) async fn at(place: &Place) -> Result<Self> {
        let url = place.url()?;
        let info = url.into_connection_info().with_context(|| format!("`{url}` is no Redis address"))?;
        // Nagle's algorithm would hold back the small commands that follow one another.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let redis = Self(Client::open(info).with_context(|| format!("cannot use {url}"))?);
        redis.connect().await?;
        Ok(redis)
    }

    /// A connection for commands that are answered at once.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        self.connection(Some(ANSWER_WITHIN)).await
    }

    /// A connection for commands that wait: `BLMPOP` may take for ever.
    pub(crate) async fn connect_to_wait(&self) -> Result<MultiplexedConnection> {
        self.connection(None).await
    }

    /// A bare connection, for who wants to read Redis's protocol as it arrives.
    pub(crate) async fn socket(&self) -> Result<TcpStream> {
        let info = self.0.get_connection_info();
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            bail!("{} is not a TCP address, as subscribing needs", info.addr());
        };
        let mut socket =
            TcpStream::connect((host.as_str(), *port)).await.context("cannot connect to Redis")?;
        socket.set_nodelay(true)?;
        if let Some(password) = info.redis_settings().password() {
            let user = info.redis_settings().username().unwrap_or("default");
            socket.write_all(&redis::cmd("AUTH").arg(user).arg(password).get_packed_command()).await?;
            let mut answer = [0; 5];
            socket.read_exact(&mut answer).await.context("Redis did not answer to AUTH")?;
            ensure!(&answer == b"+OK\r\n", "Redis refused user `{user}`");
        }
        Ok(socket)
    }

    async fn connection(&self, answer_within: Option<Duration>) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(answer_within)
            .set_pipeline_buffer_size(1024);
        self.0.get_multiplexed_async_connection_with_config(&config).await.context("cannot connect to Redis")
    }
}

/// Pipelines on their way: each is written without waiting for the one before
/// to be answered, in order, and every answer is read.
pub(crate) struct Outbox {
    connection: MultiplexedConnection,
    unanswered: Window,
}

impl Outbox {
    pub(crate) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, unanswered: Window::new(ON_THEIR_WAY, usize::MAX) }
    }

    /// The connection, for commands that must come after all that was put before.
    pub(crate) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Waits until another pipeline may be put. Cancel-safe.
    pub(crate) async fn room(&mut self) -> Result<()> {
        self.unanswered.room().await
    }

    /// Hands a pipeline to the connection's task, which writes it when this one yields.
    pub(crate) fn put(&mut self, pipeline: Pipeline) -> Result<()> {
        let mut connection = self.connection.clone();
        self.unanswered.put(0, async move {
            pipeline.exec_async(&mut connection).await.context("a command to Redis failed")
        })
    }

    /// Waits until Redis has answered everything. Cancel-safe.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        self.unanswered.drain().await
    }
}

/// A question that stays asked when whoever waits for the answer gives up: the
/// next to wait gets it. So the items of a `BLMPOP` are not lost in a `select!`.
pub(crate) struct Asked<T>(Option<Pin<Box<dyn Future<Output = RedisResult<T>>>>>);

impl<T> Asked<T> {
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// The answer to what was asked before, else to `question`. Cancel-safe.
    pub(crate) async fn or_ask<F>(&mut self, question: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>> + 'static,
    {
        let answer = self.0.get_or_insert_with(|| Box::pin(question())).await;
        self.0 = None;
        answer.context("Redis did not answer")
    }
}

/// Takes up to `count` items from the head of a list; waits while it is empty.
pub(crate) async fn take(
    mut connection: MultiplexedConnection,
    list: String,
    count: usize,
) -> RedisResult<Vec<Vec<u8>>> {
    let mut command = redis::cmd("BLMPOP");
    command.arg(0).arg(1).arg(list).arg("LEFT").arg("COUNT").arg(count);
    let (_list, items): (redis::Value, Vec<Vec<u8>>) = command.query_async(&mut connection).await?;
    Ok(items)
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
