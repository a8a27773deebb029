//! One type for an end of either stage of a pipeline over TCP or Unix sockets. The two
//! stages differ there: a ventilator hands out tasks by credit, results are just sent.

use anyhow::Result;
use bytes::Bytes;

use crate::oneway::Sender;
use crate::queue::{Consumer, Delivery};

/// An end of one of the two stages.
pub enum StageEnd<T, R> {
    /// An end of the stage from ventilator to workers.
    Tasks(T),
    /// An end of the stage from workers to sink.
    Results(R),
}

macro_rules! either {
    ($self:ident, $end:ident => $call:expr) => {
        match $self {
            Self::Tasks($end) => $call.await,
            Self::Results($end) => $call.await,
        }
    };
}

impl<T: Sender, R: Sender> Sender for StageEnd<T, R> {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        either!(self, end => end.send(body))
    }
    async fn flush(&mut self) -> Result<()> {
        either!(self, end => end.flush())
    }
    async fn close(self) -> Result<()> {
        either!(self, end => end.close())
    }
}

impl<T, R> Consumer for StageEnd<T, R>
where
    T: Consumer<Item = Bytes, Receipt = ()>,
    R: Consumer<Item = Bytes, Receipt = ()>,
{
    type Item = Bytes;
    type Receipt = ();
    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        either!(self, end => end.next())
    }
    async fn ack(&mut self, (): ()) -> Result<()> {
        either!(self, end => end.ack(()))
    }
    async fn nack(&mut self, (): ()) -> Result<()> {
        either!(self, end => end.nack(()))
    }
    async fn flush(&mut self) -> Result<()> {
        either!(self, end => end.flush())
    }
    async fn close(self) -> Result<()> {
        either!(self, end => end.close())
    }
}
