//! A pipeline over Unix stream sockets: the code of `pipeline/tcp.rs`, with its frames and its
//! credit-based flow control, between processes of one machine that share its CPUs.
//!
//! Wire: ventilator and sink listen, each at a file of its own, and workers connect to both. A
//! frame (four bytes of length, big-endian, then as many bytes) holds a task or a result. A worker
//! writes its credit to the ventilator, four bytes, big-endian, and gives it back as it finishes:
//! it gets no more tasks than it has given credit for, and a slow worker gets less. The signal to
//! stop the workers goes through `pubsub/unix.rs`.
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
//! sink, what it has not read; with the ventilator, what it has not written.
//!
//! Run it: `just lab pipeline-unix`. Watch it: `ss -xp`, columns Recv-Q and Send-Q.

use anyhow::Result;

use super::tcp::{CREDIT, FrameSink, Ventilator, WRITE, Worker, credit};
use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::tcp::FrameSender;
use crate::pubsub;
use crate::wire::frames::FrameListener;
use crate::wire::sockets::Bound;
use crate::wire::stage_end::StageEnd;

/// `pipeline-unix`.
pub struct Unix {
    place: Place,
    credit: u32,
    write: usize,
}

impl Lab for Unix {
    const TRANSPORT: &'static str = "unix";
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

    /// A socket's file outlives a process that was killed; each stage has its own.
    async fn remove(place: &Place) -> Result<()> {
        Bound::remove_unix(&place.namespace(Stage::Tasks.namespace()))?;
        Bound::remove_unix(&place.namespace(Stage::Results.namespace()))
    }
}

impl Pipeline for Unix {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StageEnd<Ventilator, FrameSender>;
    type Pull = StageEnd<Worker, FrameSink>;
    type Control = pubsub::unix::Unix;

    async fn push(&self, stage: Stage) -> Result<Self::Push> {
        let (place, write) = (self.place.namespace(stage.namespace()), self.write);
        Ok(match stage {
            Stage::Tasks => StageEnd::Tasks(Ventilator::new(Bound::unix(&place).await?, write, self.credit)),
            Stage::Results => StageEnd::Results(FrameSender::connect(&place.peer().await?, write).await?),
        })
    }

    async fn pull(&self, stage: Stage) -> Result<Self::Pull> {
        let place = self.place.namespace(stage.namespace());
        Ok(match stage {
            Stage::Tasks => StageEnd::Tasks(Worker::connect(&place.peer().await?, self.credit).await?),
            Stage::Results => StageEnd::Results(FrameSink(FrameListener::new(Bound::unix(&place).await?))),
        })
    }
}
