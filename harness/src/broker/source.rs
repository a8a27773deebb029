//! The source of a broker: a URL, a program, a wheel, or this program.

use std::path::PathBuf;

use labs::lab::BrokerAddress;

/// Where a broker comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The user's own, which is neither started nor stopped here.
    Url(BrokerAddress),
    /// A program that is started as a private broker.
    Program(PathBuf),
    /// The same, unpacked from a wheel into the user's cache.
    Wheel(PathBuf),
    /// A broker inside this program, which is started once more to host it.
    Embedded,
}

impl Source {
    /// The word used in listings and results.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Program(_) => "program",
            Self::Wheel(_) => "wheel",
            Self::Embedded => "embedded",
        }
    }

    /// Whether it is started for the run, and ended with it.
    pub const fn is_private(&self) -> bool {
        !matches!(self, Self::Url(_))
    }
}
