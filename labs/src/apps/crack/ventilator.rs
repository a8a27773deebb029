//! The ventilator: makes tasks of ranges and hands them out. Which ranges, and
//! when, is the sink's to say, through a channel of the window's size.

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::Job;
use super::message::Range;
use crate::oneway::Sender;

/// Hands out what comes through the channel, until that ends.
pub(super) async fn hand_out(
    tasks: &mut impl Sender,
    job: &Job,
    mut ranges: mpsc::Receiver<Range>,
) -> Result<()> {
    while let Some(range) = ranges.recv().await {
        tasks.send(job.task(range).write()).await.context("a task cannot be handed out")?;
        // Tasks that are there together are written together.
        if ranges.is_empty() {
            tasks.flush().await.context("tasks cannot be handed out")?;
        }
    }
    Ok(())
}
