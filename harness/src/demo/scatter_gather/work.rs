//! A worker that simulates work, and reports its progress.

use std::time::{Duration, Instant};

use anyhow::Result;
use labs::apps::answer::Answer;
use labs::apps::gather;
use labs::erased::PubSubLab;
use labs::lab::Place;
use serde_json::json;

/// How long a simulated job takes.
const JOB: Duration = Duration::from_millis(40);
/// Number of jobs that arrive each time the queue is empty.
const BATCH: u64 = 25;

/// What a worker needs to know.
pub(super) struct Working<'a> {
    pub(super) place: &'a Place,
    pub(super) name: &'a str,
    pub(super) delay: Duration,
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

/// The status of a worker that has worked for the duration `up`.
fn status(question: &str, up: Duration) -> Answer {
    if question != "status" {
        return Err(format!("`{}` is not a question; `status` is", question.escape_debug()));
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
        assert!(
            status("stop", Duration::ZERO).is_err_and(|error| error.contains("`stop` is not a question"))
        );
    }
}
