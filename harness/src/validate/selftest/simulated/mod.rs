//! The rig behind the six contracts. It is in no catalog, and unlike every lab
//! there it has a clock: it must know the truth.

mod oneway;
mod pubsub;
mod queue;
mod reqrep;

use std::sync::Arc;

use anyhow::Result;
use labs::catalog::{Pattern, Visitor as _};
use labs::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};

use super::transport::{KNOB, Rig};
use super::wire::Wire;
use crate::roles::{Handle, Handles};

/// The known transport.
pub(super) struct Known {
    place: Place,
}

impl Known {
    /// What this trial is to do, and to note. Looked for by those who join: to
    /// clean up after a trial, none is needed.
    fn rig(&self) -> Result<Arc<Rig>> {
        Rig::find(self.place.knob(KNOB))
    }

    /// The only wire of a namespace of the place.
    fn wire(&self, namespace: &str) -> Arc<Wire> {
        self.place.namespace(namespace).registered(Wire::default)
    }
}

impl Lab for Known {
    const TRANSPORT: &'static str = "known";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const KNOBS: &'static [Knob] = &[KNOB];
    const JOIN: Join = Join::Confirmed;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

/// How the known transport is run in a pattern: by the loops that run every lab.
pub(super) fn handle(pattern: Pattern) -> Handle {
    let mut handles = Handles::default();
    match pattern {
        Pattern::OneWay => handles.one_way::<Known>(),
        Pattern::RequestReply => handles.request_reply::<Known>(),
        Pattern::PubSub => handles.pub_sub::<Known>(),
        Pattern::Pipeline => handles.pipeline::<Known>(),
        Pattern::Queue => handles.queue::<Known>(),
        Pattern::Durable => handles.durable::<Known>(),
    }
    handles.0.pop().unwrap_or_else(|| unreachable!("a visit leaves a handle"))
}
