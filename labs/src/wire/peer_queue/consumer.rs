//! The consumer's end of a queue that lives with its producers: a connection to each
//! of them, kept by a task that makes it again when it breaks, and the
//! [`UnackedDeliveries`] of all.

use std::time::Duration;

use anyhow::{Context, Error, Result};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{QueueFrame, Receipt, UnackedDeliveries};
use crate::lab::Place;
use crate::queue::{Consumer, Delivery};

/// Settlements in one frame, at most.
const ACKS: usize = 128;
/// Frames that wait to be written to one producer.
const FRAMES: usize = 64;
/// How long a consumer that leaves waits until its producers know.
const LEAVING: Duration = Duration::from_secs(3);

/// What a connection's task reports.
enum Event {
    Received(QueueFrame),
    Disconnected,
    Failed(Error),
}

/// What the task of one connection holds: its end of the consumer's channels.
pub(crate) struct ConnectionEnd {
    producer: usize,
    events: mpsc::Sender<(usize, Event)>,
    to_write: mpsc::Receiver<QueueFrame>,
    /// How many deliveries may come over this connection and not be settled.
    pub(crate) limit: u32,
}

impl ConnectionEnd {
    /// Passes on a frame of the producer.
    pub(crate) async fn received(&self, frame: QueueFrame) {
        // A consumer that does not receive any more has gone, and ends this task.
        let _ = self.events.send((self.producer, Event::Received(frame))).await;
    }

    /// The connection has broken.
    pub(crate) async fn disconnected(&self) {
        let _ = self.events.send((self.producer, Event::Disconnected)).await;
    }

    /// The next frame to write, or `None` when the consumer has gone. Cancel-safe.
    pub(crate) async fn next_to_write(&mut self) -> Option<QueueFrame> {
        self.to_write.recv().await
    }

    /// Another frame, if one is to be written already.
    #[cfg(feature = "outbox")]
    pub(crate) fn more_to_write(&mut self) -> Option<QueueFrame> {
        self.to_write.try_recv().ok()
    }
}

/// A consumer of several producers: the connections to all, and what has come over them.
pub struct MultiConsumer {
    unacked: UnackedDeliveries,
    events: mpsc::Receiver<(usize, Event)>,
    /// The way to each producer's connection.
    to_write: Vec<mpsc::Sender<QueueFrame>>,
    batch: usize,
    /// Of each producer, whether its connection is lost at present.
    lost: Vec<bool>,
    place: Place,
    _tasks: JoinSet<()>,
}

impl MultiConsumer {
    /// Connects to every producer of the place, each by `connect`; all have answered when
    /// this returns. They share the prefetch between them, evenly: what one does not use,
    /// the others cannot.
    pub(crate) async fn join<F>(
        place: &Place,
        prefetch: u16,
        connect: impl Fn(String, ConnectionEnd) -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let addresses = place.peers().await?;
        let prefetch = usize::from(prefetch).max(1);
        let limit = (prefetch / addresses.len().max(1)).max(1);
        let (report, events) = mpsc::channel(2 * limit * addresses.len() + FRAMES);
        let (mut tasks, mut ways) = (JoinSet::new(), Vec::new());
        for (producer, address) in addresses.into_iter().enumerate() {
            let (way, to_write) = mpsc::channel(FRAMES);
            ways.push(way);
            let end =
                ConnectionEnd { producer, events: report.clone(), to_write, limit: u32::try_from(limit)? };
            let (connection, report) = (connect(address, end), report.clone());
            tasks.spawn(async move {
                if let Err(error) = connection.await {
                    let _ = report.send((producer, Event::Failed(error))).await;
                }
            });
        }
        let unacked = UnackedDeliveries::new(ways.len(), prefetch);
        // Half of what may be held: the producer delivers on while acks are on their way.
        let batch = (limit / 2).clamp(1, ACKS);
        let (lost, place) = (vec![false; ways.len()], place.clone());
        let mut joined = Self { unacked, events, to_write: ways, batch, lost, place, _tasks: tasks };
        while !(0..joined.unacked.producers()).all(|producer| joined.unacked.is_connected(producer)) {
            joined.event().await?;
        }
        Ok(joined)
    }

    /// Waits for the next event of any connection. Cancel-safe.
    async fn event(&mut self) -> Result<()> {
        let event = self.events.recv().await.context("no producer can come any more")?;
        self.handle(event)
    }

    fn handle(&mut self, (producer, event): (usize, Event)) -> Result<()> {
        match event {
            Event::Received(frame) => {
                self.unacked.received(producer, frame);
                if self.lost[producer] && self.unacked.is_connected(producer) {
                    self.lost[producer] = false;
                    self.place.reconnected(format_args!("producer {producer} is back"));
                }
            }
            Event::Disconnected => {
                self.unacked.disconnected(producer);
                if !std::mem::replace(&mut self.lost[producer], true) {
                    self.place.connection_lost(format_args!("producer {producer} is away"));
                }
            }
            Event::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells a producer what was settled. Cancel-safe: first the room, then the frames.
    async fn report(&mut self, producer: usize) -> Result<()> {
        if self.unacked.unreported(producer) > 0 {
            let room = self.to_write[producer].reserve_many(2).await.context("the connection has ended")?;
            room.zip(self.unacked.report(producer)).for_each(|(room, frame)| room.send(frame));
        }
        Ok(())
    }

    /// As [`MultiConsumer::report`], once a batch is complete.
    async fn report_batch(&mut self, producer: usize) -> Result<()> {
        if self.unacked.unreported(producer) >= self.batch { self.report(producer).await } else { Ok(()) }
    }

    async fn report_to_all(&mut self) -> Result<()> {
        for producer in 0..self.to_write.len() {
            self.report(producer).await?;
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<()> {
        let connected = |producer: &usize| self.unacked.is_connected(*producer);
        for producer in (0..self.to_write.len()).filter(connected).collect::<Vec<_>>() {
            self.report(producer).await?;
            let room = self.to_write[producer].reserve().await.context("the connection has ended")?;
            room.send(self.unacked.leave(producer));
        }
        // A producer that has gone is not waited for: what it does not know, it delivers again.
        while self.unacked.any_connected_does_not_know() {
            self.event().await?;
            self.report_to_all().await?;
        }
        Ok(())
    }
}

impl Consumer for MultiConsumer {
    type Item = Bytes;
    type Receipt = Receipt;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Receipt>>> {
        loop {
            if let Some(delivery) = self.unacked.hand_out() {
                return Ok(Some(delivery));
            }
            match self.events.try_recv() {
                Ok(event) => self.handle(event)?,
                Err(_) => {
                    self.report_to_all().await?;
                    self.event().await?;
                }
            }
        }
    }

    async fn ack(&mut self, receipt: Receipt) -> Result<()> {
        self.unacked.ack(receipt);
        self.report_batch(receipt.producer).await
    }

    async fn nack(&mut self, receipt: Receipt) -> Result<()> {
        self.unacked.nack(receipt);
        self.report_batch(receipt.producer).await
    }

    /// While a producer is away, this waits for it: it cannot know before.
    async fn flush(&mut self) -> Result<()> {
        loop {
            self.report_to_all().await?;
            if (0..self.to_write.len()).all(|producer| self.unacked.is_known(producer)) {
                return Ok(());
            }
            self.event().await?;
        }
    }

    async fn close(mut self) -> Result<()> {
        tokio::time::timeout(LEAVING, self.leave()).await.unwrap_or(Ok(()))
    }
}
