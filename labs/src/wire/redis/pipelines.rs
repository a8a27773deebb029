//! Several pipelines in flight on one connection: each is written without
//! waiting for the answers of the one before, in order, and every answer is read.

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use crate::wire::window::Window;

/// Pipelines in flight at once: enough to keep the server busy while the next one is filled,
/// few enough that a sender soon waits for a slow server.
const IN_FLIGHT: usize = 8;
/// A pipeline is written when it has this size, however few commands it holds.
pub(crate) const PIPELINE_BYTES: usize = 256 * 1024;

/// Pipelines that were written, or will be soon, and are not answered yet.
pub(crate) struct Pipelines {
    connection: MultiplexedConnection,
    in_flight: Window,
}

impl Pipelines {
    pub(crate) fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, in_flight: Window::new(IN_FLIGHT, usize::MAX) }
    }

    /// The connection, for commands that must come after every pipeline that was put before.
    pub(crate) fn connection(&self) -> MultiplexedConnection {
        self.connection.clone()
    }

    /// Waits until another pipeline may be put. Cancel-safe.
    pub(crate) async fn room(&mut self) -> Result<()> {
        self.in_flight.room().await
    }

    /// Hands a pipeline to the connection's task, which writes it when this task yields.
    pub(crate) fn put(&mut self, pipeline: Pipeline) -> Result<()> {
        let mut connection = self.connection.clone();
        self.in_flight.put(0, async move {
            pipeline.exec_async(&mut connection).await.context("a command to Redis failed")
        })
    }

    /// As [`Pipelines::put`], of replies to the keys that requests have named. A key of another
    /// type takes none: that is not our error, and the other replies arrive.
    pub(crate) fn put_replies(&mut self, mut pipeline: Pipeline) -> Result<()> {
        let mut connection = self.connection.clone();
        pipeline.ignore_errors();
        self.in_flight.put(0, async move {
            let answers: Vec<Value> =
                pipeline.query_async(&mut connection).await.context("a command to Redis failed")?;
            for answer in answers {
                match answer {
                    Value::ServerError(error) if error.code() != "WRONGTYPE" => {
                        bail!("Redis refused: {error}")
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    /// Waits until Redis has answered every pipeline. Cancel-safe.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        self.in_flight.drain().await
    }
}

/// Collects commands into pipelines of up to `batch` commands.
pub(crate) struct CommandBatch {
    pipelines: Pipelines,
    batch: usize,
    accepted: Pipeline,
    bytes: usize,
}

impl CommandBatch {
    pub(crate) fn new(connection: MultiplexedConnection, batch: usize) -> Self {
        Self { pipelines: Pipelines::new(connection), batch: batch.max(1), accepted: redis::pipe(), bytes: 0 }
    }

    /// Accepts a command with so many bytes of data. Writes the pipeline when it is full.
    pub(crate) async fn put(&mut self, command: Cmd, bytes: usize) -> Result<()> {
        self.accepted.add_command(command);
        self.bytes += bytes;
        if self.accepted.len() >= self.batch || self.bytes >= PIPELINE_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes what was accepted, and waits until Redis has answered every command.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.write().await?;
        self.pipelines.drain().await
    }

    async fn write(&mut self) -> Result<()> {
        self.pipelines.room().await?;
        if self.accepted.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        self.pipelines.put(std::mem::replace(&mut self.accepted, redis::pipe()))
    }
}
