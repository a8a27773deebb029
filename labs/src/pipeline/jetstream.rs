//! A pipeline over JetStream: one work-queue stream of tasks for the workers, another of results
//! for the sink.
//!
//! Wire: a message is published to its stage's subject (`PUB PLACE.tasks INBOX`), and JetStream
//! replies to the inbox. The receiving ends are the consumers of `queue/jetstream/mod.rs`: they ask for
//! a batch of messages (`{"batch":N}`), and for more as they acknowledge them (`+ACK`), so a faster
//! worker gets more. The signal to stop the workers goes through `pubsub/jetstream.rs`.
//!
//! Confirms: a task or a result when it is in the stream's file, which the reply to the inbox says;
//! `flush` waits for all replies. By the contract, a worker flushes its result before it acks the
//! task.
//!
//! Survives: kill -9 of a worker or of the sink: what it held goes to another, or to its successor,
//! after `claim-ms`. Kill -9 of NATS: confirmed messages are in the stream's file. A cut connection
//! loses nothing: the recovery layer (`labs/src/recovery/`) connects and joins again, and what was
//! not flushed or not acked is sent again, and may come twice. After a restart of NATS the roles
//! join again, too.
//!
//! Loses: tasks and results that were not confirmed when the process that sent them died; with a
//! power cut, what was written since the file was last synced. A task also comes again if it is not
//! acknowledged within `claim-ms` of its delivery: waiting in the consumer behind others counts,
//! and the lab never extends the time. Deliveries beyond `high-water`, if that is set below
//! `prefetch`: the client drops them, and they come again likewise.
//!
//! Run it: `just lab pipeline-jetstream`. Watch it: `nats consumer report`.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use async_nats::Subject;
use bytes::Bytes;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::oneway::Sender;
use crate::pipeline::{Pipeline, RESULTS_UNACKED, Sharing, Stage};
use crate::pubsub;
use crate::queue::AttemptLimit;
use crate::queue::jetstream::{CLAIM_MS, StreamConsumer, create_stream};
use crate::wire::nats;
use crate::wire::nats::jetstream::{self, JetStreamConnection};
use crate::wire::window::Window;

const PREFETCH: Knob =
    Knob::new("prefetch", 128, "Tasks a worker holds at once; 1 shares most evenly and waits most.");

/// Two streams, and a third for control.
pub struct JetStream {
    place: Place,
}

impl Lab for JetStream {
    const TRANSPORT: &'static str = "jetstream";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::Durable;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Ours;
    const KNOBS: &'static [Knob] = &[PREFETCH, CLAIM_MS, nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        for stage in [Stage::Tasks, Stage::Results] {
            create_stream(&place.namespace(stage.namespace())).await?;
        }
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        for stage in [Stage::Tasks, Stage::Results] {
            jetstream::delete_stream(&place.namespace(stage.namespace())).await?;
        }
        pubsub::jetstream::JetStream::remove(&place.namespace("control")).await
    }
}

impl Pipeline for JetStream {
    const SHARING: Sharing = Sharing::OnDemand;
    type Push = StreamPush;
    type Pull = StreamConsumer;
    type Control = pubsub::jetstream::JetStream;

    async fn push(&self, stage: Stage) -> Result<StreamPush> {
        let place = self.place.namespace(stage.namespace());
        let js = Rc::new(JetStreamConnection::connect(&place).await?);
        Ok(StreamPush { js, subject: place.name().into(), in_flight: jetstream::window() })
    }

    async fn pull(&self, stage: Stage) -> Result<StreamConsumer> {
        let prefetch = match stage {
            Stage::Tasks => self.place.knob(PREFETCH),
            Stage::Results => RESULTS_UNACKED,
        };
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        StreamConsumer::join(&self.place.namespace(stage.namespace()), prefetch, AttemptLimit::NEVER).await
    }
}

/// Publishes into the stream of a stage, without waiting for one confirmation before the next
/// message.
pub struct StreamPush {
    js: Rc<JetStreamConnection>,
    subject: Subject,
    in_flight: Window,
}

impl Sender for StreamPush {
    /// Accepted: handed over to the client, and the confirmation is not awaited here.
    async fn send(&mut self, body: Bytes) -> Result<()> {
        self.in_flight.room().await?;
        let (js, subject, size) = (Rc::clone(&self.js), self.subject.clone(), body.len());
        self.in_flight.put(size, async move {
            let confirmed = async { js.context.publish(subject, body).await?.await };
            js.nats.unless_lost(confirmed).await.map(drop).context("the message is not confirmed")
        })
    }

    /// Stronger than the contract asks: JetStream has confirmed every message.
    async fn flush(&mut self) -> Result<()> {
        self.in_flight.drain().await
    }

    async fn close(mut self) -> Result<()> {
        self.flush().await
    }
}
