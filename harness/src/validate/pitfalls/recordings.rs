//! The recordings of one event, and the figures that each way to measure computes from
//! them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::methods;
use super::model::{FEWEST, Made, RecordedTrial, SCHEMA, Samples, Views};
use crate::measure::trace::MessageTrace;

/// The recordings, with how they were made.
pub struct Recordings {
    /// How.
    pub made: Made,
    /// See [`Made::open`].
    pub open: MessageTrace,
    /// See [`Made::closed`].
    pub closed: MessageTrace,
    /// See [`Made::runs`].
    pub runs: Vec<MessageTrace>,
}

impl Recordings {
    /// Reads a folder that `lab wrong-views` has made.
    ///
    /// # Errors
    /// When a file of it is missing or damaged; it is named.
    pub fn read(dir: &Path) -> Result<Self> {
        let Views { made, .. } = Views::read(dir)?;
        let recording = |trial: &RecordedTrial| MessageTrace::read(&dir.join(&trial.file));
        Ok(Self {
            open: recording(&made.open)?,
            closed: recording(&made.closed)?,
            runs: made.runs.iter().map(recording).collect::<Result<_>>()?,
            made,
        })
    }

    /// The figures of each pitfall, computed from the recordings.
    ///
    /// # Errors
    /// When a recording is cut, or has too few messages for its percentiles.
    pub fn views(&self) -> Result<Views> {
        let samples = self.samples()?;
        let views = vec![
            methods::closed_loop(&samples),
            methods::millisecond_clock(&samples),
            methods::averaged_percentiles(&samples),
            methods::one_sample_a_batch(&samples),
            methods::single_run(&samples)?,
            methods::senders_rate(&self.made.flood),
        ];
        Ok(Views { schema: SCHEMA, made: self.made.clone(), views })
    }

    /// The messages that were due in the measured time of each trial.
    pub(super) fn samples(&self) -> Result<Samples> {
        let samples_of = |trial: &RecordedTrial, recording: &MessageTrace, fewest: usize| {
            ensure!(
                recording.cut == 0,
                "{} is incomplete: {} entries did not fit",
                trial.file,
                recording.cut
            );
            let samples = methods::samples(recording, trial);
            ensure!(
                samples.len() >= fewest,
                "{} has {} messages, but its percentiles need {fewest}",
                trial.file,
                samples.len()
            );
            Ok(samples)
        };
        let (made, from) = (&self.made, methods::window(&self.made.open).start);
        Ok(Samples {
            from,
            open: samples_of(&made.open, &self.open, FEWEST)?,
            // The real tool would use any number of samples.
            closed: samples_of(&made.closed, &self.closed, 1)?,
            runs: made
                .runs
                .iter()
                .zip(&self.runs)
                .map(|(run, recording)| samples_of(run, recording, FEWEST / 10))
                .collect::<Result<_>>()?,
        })
    }
}
