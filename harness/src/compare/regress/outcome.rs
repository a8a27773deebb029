//! The outcome of a comparison.

use serde::{Deserialize, Serialize};

use super::measures::Measure;

/// The outcome of a gate or of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A slowdown of the minimum effect would have been seen, and was not.
    Fine,
    /// The measurement is not sufficient. This never means that head is fine.
    CannotTell,
    /// Slower than base, surely, and by more than the minimum effect.
    Regressed,
}

impl Outcome {
    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::CannotTell => "cannot tell",
            Self::Regressed => "regressed",
        }
    }

    /// The exit code of `lab regress`.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Regressed => 1,
            Self::CannotTell => 3,
        }
    }
}

/// A ratio with its bounds: 1.1 is a tenth more than base.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The Hodges-Lehmann estimate.
    pub estimate: f64,
    /// It is above this, with 99 % confidence; null for too few rounds.
    pub low: Option<f64>,
    /// It is below this, with 99 % confidence; null for too few rounds.
    pub high: Option<f64>,
}

/// One measure of one lab, with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The lab.
    pub lab: String,
    /// The measure.
    pub measure: Measure,
    /// Rounds in which base, head and base again were all good.
    pub rounds: usize,
    /// The median of base over its rounds, in the measure's unit.
    pub base: f64,
    /// The median of head.
    pub head: f64,
    /// Head by base.
    pub ratio: Ratio,
    /// Base by base, measured the same way: it should be 1.
    pub control: Ratio,
    /// The probability of such evidence if head is not slower.
    pub p: f64,
    /// The same for all gates of the run together (Holm); null if it is not a gate.
    pub p_of_all: Option<f64>,
    /// The outcome; null where the measure is reported and does not decide.
    pub outcome: Option<Outcome>,
    /// Why, in a sentence.
    pub why: String,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The worst of the gates: regressed, else cannot tell, else fine.
    pub outcome: Outcome,
    /// Why, in a sentence.
    pub why: String,
    /// What decides.
    pub gates: Vec<Gate>,
    /// Measures that are reported only and do not decide.
    pub reported: Vec<Gate>,
    /// Trials of head that failed, or broke a promise of their lab, where base's did not.
    pub broken: Vec<String>,
}
