//! The recordings of one event, and what each way to measure makes of them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::methods;
use super::model::{FEWEST, Made, SCHEMA, Seen, Take, Views};
use crate::measure::trace::MessageTrace;

/// The recordings, with how they were made.
pub struct Evidence {
    /// How.
    pub made: Made,
    /// See [`Made::open`].
    pub open: MessageTrace,
    /// See [`Made::closed`].
    pub closed: MessageTrace,
    /// See [`Made::runs`].
    pub runs: Vec<MessageTrace>,
}

impl Evidence {
    /// Reads a folder that `lab wrong-views` has made.
    ///
    /// # Errors
    /// When a file of it is missing or damaged; it is named.
    pub fn read(dir: &Path) -> Result<Self> {
        let Views { made, .. } = Views::read(dir)?;
        let recording = |take: &Take| MessageTrace::read(&dir.join(&take.file));
        Ok(Self {
            open: recording(&made.open)?,
            closed: recording(&made.closed)?,
            runs: made.runs.iter().map(recording).collect::<Result<_>>()?,
            made,
        })
    }

    /// What each view makes of the recordings.
    ///
    /// # Errors
    /// When a recording is cut, or has too few messages for its percentiles.
    pub fn views(&self) -> Result<Views> {
        let seen = self.seen()?;
        let views = vec![
            methods::closed_loop(&seen),
            methods::millisecond_clock(&seen),
            methods::averaged_percentiles(&seen),
            methods::one_sample_a_batch(&seen),
            methods::single_run(&seen)?,
            methods::senders_rate(&self.made.flood),
        ];
        Ok(Views { schema: SCHEMA, made: self.made.clone(), views })
    }

    /// The messages that were due in the measured time of each trial.
    pub(super) fn seen(&self) -> Result<Seen> {
        let take = |take: &Take, recording: &MessageTrace, fewest: usize| {
            ensure!(recording.cut == 0, "{} is cut: {} entries had no room", take.file, recording.cut);
            let samples = methods::samples(recording, take);
            ensure!(
                samples.len() >= fewest,
                "{} has {} messages, and its percentiles need {fewest}",
                take.file,
                samples.len()
            );
            Ok(samples)
        };
        let (made, from) = (&self.made, methods::window(&self.made.open).start);
        Ok(Seen {
            from,
            open: take(&made.open, &self.open, FEWEST)?,
            // The view that it stands for would not mind how few they are.
            closed: take(&made.closed, &self.closed, 1)?,
            runs: made
                .runs
                .iter()
                .zip(&self.runs)
                .map(|(run, recording)| take(run, recording, FEWEST / 10))
                .collect::<Result<_>>()?,
        })
    }
}
