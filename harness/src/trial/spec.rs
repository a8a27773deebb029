//! What a trial is to be, and what came of it.

use std::collections::BTreeMap;

use labs::catalog::Pattern;

use super::options::TrialOptions;
use crate::measure::trace::MessageTrace;
use crate::results::{Load, Raw, Trial};
use crate::roles::Handle;
use crate::roles::protocol::Kind;
use crate::supervisor::Placement;

/// What a trial is to be.
#[derive(Clone)]
pub struct Spec {
    /// The lab.
    pub handle: Handle,
    /// Declared message size, bytes.
    pub size: usize,
    /// The load.
    pub load: Load,
    /// Senders, requesters, publishers, producers.
    pub senders: usize,
    /// Receivers, responders, subscribers, workers, consumers.
    pub receivers: usize,
    /// Warm-up, seconds.
    pub warmup: f64,
    /// Measured time, seconds.
    pub seconds: f64,
    /// Longest wait for messages in flight while nothing arrives, seconds.
    pub drain: f64,
    /// Most messages sent and not yet received, for `max` loads.
    pub window: Option<u64>,
    /// Knobs set from outside.
    pub knobs: BTreeMap<String, usize>,
    /// Seed of arrivals.
    pub seed: u64,
    /// Where roles live.
    pub placement: Placement,
    /// What the generator can offer to a transport that does nothing, messages a second.
    pub null_rate: f64,
    /// Optional features.
    pub options: TrialOptions,
}

/// What came of it.
pub struct Outcome {
    /// The result; failed trials have one too.
    pub trial: Trial,
    /// The recording.
    pub raw: Raw,
    /// Knobs that were read.
    pub knobs: BTreeMap<String, usize>,
    /// Every single message, where that was asked for.
    pub recording: Option<MessageTrace>,
    /// The common start, ns of the clock; `None` where it never came to that.
    pub start: Option<u64>,
}

/// Who receives, in the sense of the account, and how many they are.
pub(crate) fn receivers(spec: &Spec) -> (Kind, usize) {
    match spec.handle.entry.pattern {
        Pattern::OneWay => (Kind::Receiver, 1),
        Pattern::RequestReply => (Kind::Requester, spec.senders),
        Pattern::PubSub | Pattern::Durable => (Kind::Subscriber, spec.receivers),
        Pattern::Pipeline => (Kind::Sink, 1),
        Pattern::Queue => (Kind::Consumer, spec.receivers),
    }
}
