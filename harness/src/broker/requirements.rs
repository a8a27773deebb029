//! The reasons why a lab cannot run over a broker.

use labs::lab::{Broker, BrokerFeature, Guarantee};

use super::embedded;
use super::plugins;
use super::source::Source;

/// What a lab needs of a broker that answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// The oldest version that has all its commands.
    pub since: Option<(u32, u32)>,
    /// What not every broker of its protocol has.
    pub features: &'static [BrokerFeature],
    /// The size of its messages, bytes.
    pub size: u64,
}

impl Needs {
    /// Those of a lab, whatever the size of its messages.
    pub fn of(since: Option<(u32, u32)>, features: &'static [BrokerFeature]) -> Self {
        Self { since, features, size: 0 }
    }
}

impl Source {
    /// Why a lab cannot run over it: knocks at the user's own broker where the
    /// lab's transport needs a plugin there.
    pub fn why_not(&self, broker: Broker, guarantee: Guarantee, transport: &str) -> Option<String> {
        self.refuses(guarantee).or_else(|| plugins::lacks(broker, self, transport))
    }

    /// Why a lab with this guarantee cannot run over it.
    pub fn refuses(&self, guarantee: Guarantee) -> Option<String> {
        (*self == Self::Embedded && guarantee == Guarantee::Durable).then(embedded::keeps_nothing)
    }
}
