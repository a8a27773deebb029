//! A pipeline over plain TCP, with credit-based flow control.
//!
//! Ventilator and sink listen, workers connect to both. A worker tells the
//! ventilator how many more tasks it will take (its credit, four bytes,
//! big-endian) and gives that credit back as it finishes, so that a slow
//! worker gets less. Without credits the ventilator would fill the socket
//! buffers of the slow one. A worker that dies takes its tasks with it.
//!
//! Run it with `just lab pipeline-tcp`.

use anyhow::{Result, bail};
use bytes::Bytes;

use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::tcp::FrameSender;
use crate::pubsub;
use crate::queue::{Consumer, Delivery};
use crate::wire::credit::{Ventilator, Worker, credit};
use crate::wire::hub::Hub;
use crate::wire::link::Link;
use crate::wire::socket::Bound;
use crate::wire::stages::Stages;

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
    type Push = Stages<Ventilator, FrameSender>;
    type Pull = Stages<Worker, FrameSink>;
    type Control = pubsub::tcp::Tcp;

    async fn push(&self, stage: Stage) -> Result<Self::Push> {
        let (place, write) = (self.place.namespace(stage.namespace()), self.write);
        Ok(match stage {
            Stage::Tasks => Stages::Tasks(Ventilator::new(Bound::tcp(&place).await?, write)),
            Stage::Results => {
                Stages::Results(FrameSender { link: Link::connect(&place.peer().await?).await?, write })
            }
        })
    }

    async fn pull(&self, stage: Stage) -> Result<Self::Pull> {
        let place = self.place.namespace(stage.namespace());
        Ok(match stage {
            Stage::Tasks => Stages::Tasks(Worker::connect(&place.peer().await?, self.credit).await?),
            Stage::Results => Stages::Results(FrameSink(Hub::new(Bound::tcp(&place).await?))),
        })
    }
}

/// The sink: takes results from every worker. A stream knows no acks: what is
/// read is gone from it.
pub struct FrameSink(pub(crate) Hub);

impl Consumer for FrameSink {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        Ok(self.0.next().await?.map(|(_, item)| Delivery { item, attempt: 1, receipt: () }))
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
