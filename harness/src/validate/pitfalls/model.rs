//! What `lab wrong-views` keeps: `views.json`, and the messages that are looked at.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::results::{Counts, Flag, Host, Noise, Pause, Paused, Versions};

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
    /// How quiet the machine was before.
    pub noise: Noise,
    /// The lab.
    pub lab: String,
    /// Message size, bytes.
    pub size: u64,
    /// Messages due a second, at equal gaps.
    pub rate: f64,
    /// When the broker stood still, in the open and in the closed loop.
    pub pause: Pause,
    /// The event as an open loop saw it: the recording that is looked at.
    pub open: Take,
    /// The same event before a sender that waits for each message.
    pub closed: Take,
    /// Short runs in which nothing stands still.
    pub runs: Vec<Take>,
    /// A sender without bound before a lab that does not hold it back.
    pub flood: Flood,
}

/// One trial that was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Take {
    /// Its recording's file.
    pub file: String,
    /// Warm-up before the measured time, seconds.
    pub warmup_s: f64,
    /// The measured time, seconds: only what was due in it is looked at.
    pub seconds: f64,
    /// What became of every message.
    pub counts: Counts,
    /// When the broker stood still.
    pub paused: Option<Paused>,
    /// What is not to be believed about it.
    pub flags: Vec<Flag>,
}

/// A trial without a window. It is not recorded: its account says all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flood {
    /// The lab.
    pub lab: String,
    /// For how long was sent, seconds. There was no warm-up.
    pub seconds: f64,
    /// What became of every message.
    pub counts: Counts,
    /// Received in that time, messages a second.
    pub received_per_s: f64,
}

/// What a figure counts.
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

/// A number and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What it says.
    pub what: String,
    /// The number.
    pub value: u64,
    /// What it counts.
    pub unit: Unit,
}

/// One way to look at the event, beside the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// A short name, also that of its picture's file.
    pub name: String,
    /// What is compared: `p99.9 of the response time`.
    pub measure: String,
    /// What this view says.
    pub wrong: Figure,
    /// What is so.
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
        let text = std::fs::read_to_string(&path).with_context(|| {
            let make = crate::hint::command(&["wrong-views"]);
            format!("cannot read {}; `{make}` makes it", path.display())
        })?;
        let views: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            views.schema == SCHEMA,
            "{} has schema {}, and this program reads {SCHEMA}; make it again with `{}`",
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
    /// What a user waits.
    pub(super) const fn response(&self) -> u64 {
        self.received.saturating_sub(self.due)
    }

    /// What a sender sees who knows no schedule.
    pub(super) const fn service(&self) -> u64 {
        self.received.saturating_sub(self.sent)
    }
}

/// What is looked at.
pub(super) struct Seen {
    /// Where the measured time of the open loop begins, ns from the common start.
    pub(super) from: u64,
    pub(super) open: Vec<Sample>,
    pub(super) closed: Vec<Sample>,
    pub(super) runs: Vec<Vec<Sample>>,
}
