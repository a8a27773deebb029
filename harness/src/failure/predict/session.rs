//! The questions about one lab, and their scenes, one after the other over one broker.

use std::collections::BTreeMap;

use anyhow::Result;
use labs::catalog::Entry;

use super::question::{Question, Topic};
use super::seen::Seen;
use super::{factor, hears, lost};
use crate::failure::experiment::{Experiment, Purpose, Sources};
use crate::hint;
use crate::roles::Handle;

/// The questions about a lab, chosen by its pattern and its constants.
pub(crate) fn questions(entry: &Entry) -> [Question; 3] {
    [hears::question(entry), lost::question(entry), factor::question(entry)]
}

/// A lab whose questions are being answered. Its broker starts with the first scene.
pub(crate) struct Session {
    experiment: Experiment,
}

impl Session {
    /// `tell` gets what happens in the scenes, line by line.
    pub(crate) fn new(handle: &Handle, sources: Sources, tell: Box<dyn FnMut(&str)>) -> Self {
        let purpose = Purpose::lesson(hint::line(None, &["predict", &handle.entry.name]));
        Self { experiment: Experiment::new(handle.clone(), BTreeMap::new(), sources, purpose, tell) }
    }

    /// Plays the scene of a question.
    ///
    /// # Errors
    /// When the scene could not be played: the broker does not start, roles cannot join.
    pub(crate) async fn play(&mut self, question: &Question) -> Result<Seen> {
        match question.topic {
            Topic::Hears => hears::play(&mut self.experiment).await,
            Topic::Lost => lost::play(&mut self.experiment).await,
            Topic::Factor => factor::measure(&mut self.experiment).await,
        }
    }

    /// Ends the broker.
    pub(crate) async fn close(&mut self) -> Result<()> {
        self.experiment.close().await
    }
}
