//! A worker that pretends to work, and tells how far it is.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use labs::apps::answer::Answer;
use labs::apps::gather;
use labs::erased::PubSubLab;
use labs::lab::Place;
use serde_json::json;

use super::handle;
use crate::role;

/// The variable that the broker's address is in.
pub(super) const URL: &str = "LAB_STATUS_URL";
/// How long a pretended job takes.
const JOB: Duration = Duration::from_millis(40);
/// Jobs that come in at once, each time the queue has run empty.
const BATCH: u64 = 25;

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[arg(long)]
    over: String,
    #[arg(long)]
    place: String,
    #[arg(long)]
    name: String,
    /// Milliseconds between a question and its answer
    #[arg(long)]
    delay: u64,
}

/// What a worker is told.
pub(super) struct Working<'a> {
    pub(super) place: &'a Place,
    pub(super) name: &'a str,
    pub(super) delay: Duration,
}

/// The hidden subcommand: works until its stdin ends.
pub(crate) fn worker(args: &WorkerArgs) -> Result<ExitCode> {
    let handle = handle(&args.over)?;
    let url = std::env::var(URL).with_context(|| format!("{URL} does not say where the broker is"))?;
    let place = gather::place(&args.place, &url)?.with_role(&args.name);
    let stop = async {
        // Nobody writes there: only its end is of interest.
        let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await;
    };
    let delay = Duration::from_millis(args.delay);
    let runtime = role::runtime(0)?;
    let working = Working { place: &place, name: &args.name, delay };
    let worked = runtime.block_on(work(&handle.lab, working, stop));
    runtime.shutdown_background();
    worked.map(|_| ExitCode::SUCCESS)
}

pub(super) async fn work(
    lab: &PubSubLab,
    working: Working<'_>,
    stop: impl Future<Output = ()>,
) -> Result<u64> {
    let Working { place, name, delay } = working;
    let start = Instant::now();
    gather::work(lab, place, name, delay, |question| status(question, start.elapsed()), stop).await
}

/// What a worker that began so long ago has done, and what lies before it.
fn status(question: &str, up: Duration) -> Answer {
    if question != "status" {
        return Err(format!("`{}` is no question; `status` is", question.escape_debug()));
    }
    let done = (up.as_millis() / JOB.as_millis()) as u64;
    let queue = BATCH - done % BATCH;
    let answer = json!({
        "pid": std::process::id(), "jobs_done": done, "queue": queue, "uptime_s": up.as_secs(),
    });
    Ok(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_it_does_not_know_is_answered_with_an_error() {
        assert!(
            status("status", Duration::from_secs(2)).is_ok_and(|answer| answer.contains("\"jobs_done\":50"))
        );
        assert!(status("stop", Duration::ZERO).is_err_and(|error| error.contains("`stop` is no question")));
    }
}
