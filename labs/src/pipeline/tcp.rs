//! A pipeline over plain TCP, with credit-based flow control.
//!
//! Wire: ventilator and sink listen, workers connect to both. A frame (four bytes of length,
//! big-endian, then as many bytes) holds a task or a result. In the other direction, a worker sends
//! the ventilator its credit, four bytes, big-endian: how many more tasks it will take. It gives
//! credit back as it finishes, so that a slow worker gets less; without credits the ventilator
//! would fill the socket buffers of the slow one. The signal to stop the workers goes through
//! `pubsub/tcp.rs`.
//!
//! Confirms: nothing; an `ack` only gives credit back. `send` returns when the frame is in a
//! buffer, which is written at `write-bytes` or a `flush`. The ventilator waits while no worker has
//! credit, a worker while the sink is slow.
//!
//! Survives: the death of a worker: the others get the next tasks, and the sink reads on. A worker
//! that breaks the protocol is disconnected. Without any worker, `send` waits for one. After a cut
//! connection or a restart of ventilator or sink, the recovery layer (`labs/src/recovery/`)
//! connects and joins again; for the messages, see Loses.
//!
//! Loses: with a worker or its connection to the ventilator, the tasks that it was given (up to
//! `credit`); with a worker or its connection to the sink, the results that were not read; with the
//! sink, what it has not read; with the ventilator, what it has not written, and if it is killed
//! perhaps also what was on its way: when it has not read all credit, the kernel breaks its
//! connections instead of ending them.
//!
//! Run it: `just lab pipeline-tcp`. Watch it: `ss -tnp`, columns Recv-Q and Send-Q.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use bytes::Bytes;
use futures_util::FutureExt;

use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::oneway::tcp::FrameSender;
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::frames::{FrameConnection, FrameEvent, FrameListener};
use crate::wire::sockets::{Bound, ConnectionId};
use crate::wire::stage_end::StageEnd;

pub(crate) const CREDIT: Knob =
    Knob::new("credit", 256, "Tasks a worker holds at most; finished ones are replaced by half of this.");
pub(crate) const WRITE: Knob =
    Knob::new("write-bytes", 64 << 10, "Bytes collected before they are written without a flush.");

/// `pipeline-tcp`.
pub struct Tcp {
    place: Place,
    credit: u32,
    write: usize,
}

impl Lab for Tcp {
    const TRANSPORT: &'static str = "tcp";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[CREDIT, WRITE];

    async fn open(place: &Place) -> Result<Self> {
        let credit = credit(place.knob(CREDIT));
        Ok(Self { place: place.clone(), credit, write: place.knob(WRITE) })
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl Pipeline for Tcp {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StageEnd<Ventilator, FrameSender>;
    type Pull = StageEnd<Worker, FrameSink>;
    type Control = pubsub::tcp::Tcp;

    async fn push(&self, stage: Stage) -> Result<Self::Push> {
        let (place, write) = (self.place.namespace(stage.namespace()), self.write);
        Ok(match stage {
            Stage::Tasks => StageEnd::Tasks(Ventilator::new(Bound::tcp(&place).await?, write, self.credit)),
            Stage::Results => StageEnd::Results(FrameSender::connect(&place.peer().await?, write).await?),
        })
    }

    async fn pull(&self, stage: Stage) -> Result<Self::Pull> {
        let place = self.place.namespace(stage.namespace());
        Ok(match stage {
            Stage::Tasks => StageEnd::Tasks(Worker::connect(&place.peer().await?, self.credit).await?),
            Stage::Results => StageEnd::Results(FrameSink(FrameListener::new(Bound::tcp(&place).await?))),
        })
    }
}

/// Hands tasks to workers that have credit and read what they are sent, each in turn.
pub struct Ventilator {
    listener: FrameListener,
    /// How many more tasks each worker will take.
    credits: BTreeMap<ConnectionId, u32>,
    /// What no worker's credit exceeds.
    most: u32,
    last: ConnectionId,
    write: usize,
}

impl Ventilator {
    /// What is handed out is written when `write` bytes have been collected
    /// for a worker, or at the next flush. A worker's credit is `most` at most.
    pub(crate) fn new(bound: Bound, write: usize, most: u32) -> Self {
        Self { listener: FrameListener::new(bound), credits: BTreeMap::new(), most, last: 0, write }
    }

    /// The next worker that can take a task after the last one served.
    fn next_worker(&self) -> Option<ConnectionId> {
        let can_take =
            |(worker, credit): &(&ConnectionId, &u32)| **credit > 0 && !self.listener.is_busy(**worker);
        let after = self.credits.range(self.last + 1..).find(can_take);
        after.or_else(|| self.credits.iter().find(can_take)).map(|(worker, _)| *worker)
    }

    fn handle(&mut self, event: FrameEvent) {
        match event {
            FrameEvent::Frame(worker, credit) => match <[u8; 4]>::try_from(&credit[..]) {
                Ok(credit) => {
                    let all = self.credits.entry(worker).or_default();
                    *all = all.saturating_add(u32::from_be_bytes(credit)).min(self.most);
                }
                Err(_) => self.listener.disconnect(worker, "a credit of the wrong length"),
            },
            FrameEvent::Closed(worker, _) => drop(self.credits.remove(&worker)),
            FrameEvent::Written => {}
        }
    }
}

impl Sender for Ventilator {
    /// Gives the task to a worker that has credit; waits until one has, also when all have left. A
    /// worker that does not read has enough: the others get more, and nobody waits for it.
    async fn send(&mut self, task: Bytes) -> Result<()> {
        loop {
            while let Some(worker) = self.next_worker() {
                if self.listener.put(worker, &[&task])? {
                    self.last = worker;
                    self.credits.entry(worker).and_modify(|credit| *credit -= 1);
                    if self.listener.unwritten(worker) >= self.write {
                        self.listener.write().await;
                    }
                    return Ok(());
                }
                self.credits.remove(&worker);
            }
            let event = self.listener.event().await;
            self.handle(event);
            // Credit of the others that is here already counts as well.
            while let Some(event) = self.listener.event().now_or_never() {
                self.handle(event);
            }
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.listener.flush().await;
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await?;
        // Credit that nobody has read would make the kernel break the
        // connections instead of ending them.
        while let Some(Some(_)) = self.listener.next().now_or_never() {}
        Ok(())
    }
}

/// A worker's first credit: at least one task, or nothing would ever come.
pub(crate) fn credit(tasks: usize) -> u32 {
    u32::try_from(tasks).unwrap_or(u32::MAX).max(1)
}

/// The worker's end of the tasks' stage.
pub struct Worker {
    connection: FrameConnection,
    /// Tasks finished since credit was last given back.
    finished: u32,
    /// When to give it back.
    half: u32,
    /// The ventilator has left; what it wrote may still be there to be read.
    gone: bool,
}

impl Worker {
    /// Connects, and gives its first credit.
    pub(crate) async fn connect(address: &str, credit: u32) -> Result<Self> {
        let mut connection = FrameConnection::connect(address).await?;
        connection.put(&[&credit.to_be_bytes()])?;
        connection.flush().await?;
        Ok(Self { connection, finished: 0, half: (credit / 2).max(1), gone: false })
    }
}

impl Consumer for Worker {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        let task = match self.connection.next().await {
            Err(_) if self.gone => None,
            task => task?,
        };
        Ok(task.map(|item| Delivery { item, attempt: 1, receipt: () }))
    }

    /// Half of all credit is given back at once.
    async fn ack(&mut self, (): ()) -> Result<()> {
        self.finished += 1;
        if self.finished >= self.half { self.flush().await } else { Ok(()) }
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("a stream does not take a task back")
    }

    /// Gives back the credit of what is finished.
    async fn flush(&mut self) -> Result<()> {
        if self.finished > 0 && !self.gone {
            self.connection.put(&[&self.finished.to_be_bytes()])?;
            self.finished = 0;
            self.gone = self.connection.flush().await.is_err();
        }
        Ok(())
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}

/// The sink: takes results from every worker. A stream knows no acks: what is
/// read is gone from it.
pub struct FrameSink(pub(crate) FrameListener);

impl Consumer for FrameSink {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        Ok(self.0.next().await.map(|(_, item)| Delivery { item, attempt: 1, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("a stream does not take a result back")
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
