//! The simulated transport as a lab of the six contracts. It is not in the catalog, and
//! unlike every lab it has a clock, because it must know the true times.

mod oneway;
mod pubsub;
mod queue;
mod reqrep;

use std::sync::Arc;

use anyhow::Result;
use labs::catalog::{Pattern, Visitor as _};
use labs::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};

use super::transport::{KNOB, SimulatedTransport};
use super::wire::Wire;
use crate::roles::{Handle, Handles};

/// The simulated transport.
pub(super) struct SimulatedLab {
    place: Place,
}

impl SimulatedLab {
    /// What this trial is to do, and to note. Looked for by those who join: to
    /// clean up after a trial, none is needed.
    fn transport(&self) -> Result<Arc<SimulatedTransport>> {
        SimulatedTransport::find(self.place.knob(KNOB))
    }

    /// The only wire of a namespace of the place.
    fn wire(&self, namespace: &str) -> Arc<Wire> {
        self.place.namespace(namespace).registered(Wire::default)
    }
}

impl Lab for SimulatedLab {
    const TRANSPORT: &'static str = "known";
    const BROKER: Option<Broker> = None;
    const GUARANTEE: Guarantee = Guarantee::AtLeastOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const KNOBS: &'static [Knob] = &[KNOB];
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        place.unregister();
        Ok(())
    }
}

/// A handle for the simulated transport in a pattern: the loops are those of every lab.
pub(super) fn handle(pattern: Pattern) -> Handle {
    let mut handles = Handles::new();
    match pattern {
        Pattern::OneWay => handles.one_way::<SimulatedLab>(),
        Pattern::RequestReply => handles.request_reply::<SimulatedLab>(),
        Pattern::PubSub => handles.pub_sub::<SimulatedLab>(),
        Pattern::Pipeline => handles.pipeline::<SimulatedLab>(),
        Pattern::Queue => handles.queue::<SimulatedLab>(),
        Pattern::Durable => handles.durable::<SimulatedLab>(),
    }
    handles.0.pop().unwrap_or_else(|| unreachable!("a visit leaves a handle"))
}
