//! A pipeline over Unix stream sockets, with the credit-based flow control of
//! `tcp.rs`.
//!
//! Ventilator and sink listen, each at a file of its own, and workers connect
//! to both: processes of one machine that share its CPUs, and no network. A
//! worker is sent no more tasks than it has given credit for, and gives the
//! credit back as it finishes, so that a slow worker gets less. A worker that
//! dies takes its tasks with it.
//!
//! Run it with `just lab pipeline-unix`.

use anyhow::Result;

use super::tcp::{CREDIT, FrameSink, WRITE};
use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::oneway::tcp::FrameSender;
use crate::pubsub;
use crate::wire::credit::{Ventilator, Worker, credit};
use crate::wire::hub::Hub;
use crate::wire::link::Link;
use crate::wire::socket::Bound;
use crate::wire::stages::Stages;

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
    type Push = Stages<Ventilator, FrameSender>;
    type Pull = Stages<Worker, FrameSink>;
    type Control = pubsub::unix::Unix;

    async fn push(&self, stage: Stage) -> Result<Self::Push> {
        let (place, write) = (self.place.namespace(stage.namespace()), self.write);
        Ok(match stage {
            Stage::Tasks => Stages::Tasks(Ventilator::new(Bound::unix(&place).await?, write)),
            Stage::Results => {
                Stages::Results(FrameSender { link: Link::connect(&place.peer().await?).await?, write })
            }
        })
    }

    async fn pull(&self, stage: Stage) -> Result<Self::Pull> {
        let place = self.place.namespace(stage.namespace());
        Ok(match stage {
            Stage::Tasks => Stages::Tasks(Worker::connect(&place.peer().await?, self.credit).await?),
            Stage::Results => Stages::Results(FrameSink(Hub::new(Bound::unix(&place).await?))),
        })
    }
}
