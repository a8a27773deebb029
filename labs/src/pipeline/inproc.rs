//! A pipeline inside one process: one bounded channel of tasks, from which any number of workers
//! take, and one of results for the sink.
//!
//! Wire: none. A worker that is free takes the next task, so a slow worker gets less. The signal to
//! stop the workers goes through `pubsub/inproc.rs`.
//!
//! Confirms: nothing. `send` returns when the channel has the message, and waits while `depth`
//! messages are in it. `ack` does nothing, and `nack` is an error: a channel does not take a task
//! back.
//!
//! Survives: a worker that ends: the tasks in the channel go to the others. Without any worker,
//! `send` waits at a full channel until one comes. There is no connection that could be cut.
//!
//! Loses: the task that a worker has when it ends; with the process, everything.
//!
//! Run it: `just lab pipeline-inproc`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_channel as mpmc;
use bytes::Bytes;

use super::{Pipeline, Sharing, Stage};
use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pubsub;
use crate::queue::{Consumer, Delivery};

const DEPTH: Knob =
    Knob::new("depth", 1024, "Messages a stage holds before the role that sends has to wait.");

/// `pipeline-inproc`.
pub struct Inproc(Place);

struct Channel {
    enter: mpmc::Sender<Bytes>,
    leave: mpmc::Receiver<Bytes>,
}

impl Lab for Inproc {
    const TRANSPORT: &'static str = "inproc";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;
    const KNOBS: &'static [Knob] = &[DEPTH];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self(place.clone()))
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

impl Pipeline for Inproc {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = InprocPush;
    type Pull = InprocPull;
    type Control = pubsub::inproc::Inproc;

    async fn push(&self, stage: Stage) -> Result<InprocPush> {
        Ok(InprocPush(self.stage(stage).enter.clone()))
    }

    async fn pull(&self, stage: Stage) -> Result<InprocPull> {
        Ok(InprocPull(self.stage(stage).leave.clone()))
    }
}

impl Inproc {
    fn stage(&self, stage: Stage) -> Arc<Channel> {
        let depth = self.0.knob(DEPTH).max(1);
        self.0.namespace(stage.namespace()).registered(|| {
            let (enter, leave) = mpmc::bounded(depth);
            Channel { enter, leave }
        })
    }
}

/// The sending end.
pub struct InprocPush(mpmc::Sender<Bytes>);

impl Sender for InprocPush {
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.0.send(body).await.context("this place was removed")
    }

    /// The channel is the wire: what was accepted is written.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}

/// The receiving end. `next` never returns `None`: the place keeps both ends of the channel.
pub struct InprocPull(mpmc::Receiver<Bytes>);

impl Consumer for InprocPull {
    type Item = Bytes;
    type Receipt = ();

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, ()>>> {
        Ok(self.0.recv().await.ok().map(|item| Delivery { item, attempt: 1, receipt: () }))
    }

    async fn ack(&mut self, (): ()) -> Result<()> {
        Ok(())
    }

    async fn nack(&mut self, (): ()) -> Result<()> {
        bail!("a channel does not take a task back")
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn close(self) -> Result<()> {
        Ok(())
    }
}
