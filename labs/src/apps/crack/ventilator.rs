//! The ventilator: makes tasks of ranges and sends them. The sink decides which ranges
//! and when, through a channel that holds one window.

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::job::Job;
use super::message::Range;
use crate::oneway::Sender;

/// Sends a task for each range from the channel, until the channel ends.
pub(super) async fn hand_out(
    tasks: &mut impl Sender,
    job: &Job,
    mut ranges: mpsc::Receiver<Range>,
) -> Result<()> {
    while let Some(range) = ranges.recv().await {
        tasks.send(job.task(range).write()).await.context("a task cannot be sent")?;
        // Tasks that are ready at the same time are written together.
        if ranges.is_empty() {
            tasks.flush().await.context("tasks cannot be flushed")?;
        }
    }
    Ok(())
}
