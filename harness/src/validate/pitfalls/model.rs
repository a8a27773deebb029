//! The data of `lab wrong-views`: `views.json`, and the messages that are analysed.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::results::{Counts, Flag, Host, MOST_RECORD, Noise, Pause, Paused, Versions, read_text};

/// The version of `views.json`.
pub const SCHEMA: u32 = 1;
/// What p99.9 needs, so that ten samples lie beyond it.
pub const FEWEST: usize = 10_000;

/// `views.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Views {
    /// The version of this file.
    pub schema: u32,
    /// How the recordings were made.
    pub made: Made,
    /// The views, in the order of the page.
    pub views: Vec<View>,
}

/// How the recordings were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// When, RFC 3339 with offset.
    pub created: String,
    /// The machine.
    pub host: Host,
    /// What ran.
    pub versions: Versions,
    /// The noise of the machine before the trials.
    pub noise: Noise,
    /// The lab.
    pub lab: String,
    /// Message size, bytes.
    pub size: u64,
    /// Messages due a second, at equal gaps.
    pub rate: f64,
    /// The pause of the broker, in the open and in the closed loop.
    pub pause: Pause,
    /// The event in an open loop: the recording that is analysed.
    pub open: RecordedTrial,
    /// The same event before a sender that waits for each message.
    pub closed: RecordedTrial,
    /// Short runs without a pause.
    pub runs: Vec<RecordedTrial>,
    /// A sender without a window, over a lab without back-pressure.
    pub flood: Flood,
}

/// One trial that was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedTrial {
    /// Its recording's file.
    pub file: String,
    /// Warm-up before the measured time, seconds.
    pub warmup_s: f64,
    /// The measured time, seconds: only messages due in it are analysed.
    pub seconds: f64,
    /// The counts of the trial.
    pub counts: Counts,
    /// The pause of the broker.
    pub paused: Option<Paused>,
    /// Its flags.
    pub flags: Vec<Flag>,
}

/// A trial without a window. It is not recorded: its account says all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flood {
    /// The lab.
    pub lab: String,
    /// For how long was sent, seconds. There was no warm-up.
    pub seconds: f64,
    /// The counts of the trial.
    pub counts: Counts,
    /// Received in that time, messages a second.
    pub received_per_s: f64,
}

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A time, ns.
    Ns,
    /// A rate.
    PerSecond,
    /// Messages.
    Messages,
}

/// A number and its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Its meaning.
    pub what: String,
    /// The number.
    pub value: u64,
    /// Its unit.
    pub unit: Unit,
}

/// One way to measure the event, beside the actual value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// A short name, also that of its picture's file.
    pub name: String,
    /// The figure that is compared: `p99.9 of the response time`.
    pub measure: String,
    /// The reported value.
    pub wrong: Figure,
    /// The actual value.
    pub truth: Figure,
    /// How many times the larger of the two is the smaller.
    pub factor: f64,
    /// More that the recordings say about it.
    pub more: Vec<Figure>,
}

impl Views {
    /// Reads `views.json`.
    ///
    /// # Errors
    /// When it is missing, damaged, or of another version.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("views.json");
        let text = read_text(&path, MOST_RECORD).with_context(|| {
            let make = crate::hint::command(&["wrong-views"]);
            format!("cannot read {}; `{make}` creates it", path.display())
        })?;
        let views: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            views.schema == SCHEMA,
            "{} has schema {}, but this program reads schema {SCHEMA}; create it again with `{}`",
            path.display(),
            views.schema,
            crate::hint::command(&["wrong-views"])
        );
        Ok(views)
    }
}

/// A message that was received. Times are ns from the common start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) due: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Sample {
    /// The time that a user waits.
    pub(super) const fn response(&self) -> u64 {
        self.received.saturating_sub(self.due)
    }

    /// The time that a sender without a schedule sees.
    pub(super) const fn service(&self) -> u64 {
        self.received.saturating_sub(self.sent)
    }
}

/// The messages that are analysed.
pub(super) struct Samples {
    /// Where the measured time of the open loop begins, ns from the common start.
    pub(super) from: u64,
    pub(super) open: Vec<Sample>,
    pub(super) closed: Vec<Sample>,
    pub(super) runs: Vec<Vec<Sample>>,
}
