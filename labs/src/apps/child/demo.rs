//! What `lab correlation` plays: questions to a child that are answered out of
//! order, with an error, too late, by nobody who still waits, and not at all.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::{Asker, Failure};
use crate::apps::answer::Answer;

/// How long an answer may take that is waited for.
const PATIENT: Duration = Duration::from_secs(20);
/// And one that is meant to be late.
const IMPATIENT: Duration = Duration::from_millis(100);
/// How often the counts are looked at while late answers come in.
const LOOK: Duration = Duration::from_millis(2);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Happened {
    /// A question was asked.
    Asked {
        /// Its correlation identifier.
        id: u64,
        /// The question.
        question: String,
    },
    /// It came to this.
    Answered {
        /// The identifier of the question; `None` if it was refused and got none.
        id: Option<u64>,
        /// The question.
        question: String,
        /// Its answer, or why there is none.
        answer: Result<String, Failure>,
    },
    /// Questions were asked and abandoned.
    Abandoned {
        /// So many.
        count: usize,
        /// The first and the last of their identifiers.
        ids: (u64, u64),
        /// So many are left in the table, though few have been answered yet.
        left: usize,
    },
    /// Their answers have come, and reached nobody.
    CameLate(u64),
    /// The child was killed while a question was open.
    Killed,
}

/// What it came to, counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Questions that were accepted.
    pub asked: u64,
    /// Of these: answered, and waited for.
    pub answered: u64,
    /// Answered with an error.
    pub errors: u64,
    /// Not answered within their deadline.
    pub timed_out: u64,
    /// Abandoned.
    pub abandoned: u64,
    /// Open when the child ended.
    pub gone: u64,
    /// Answers that came when nobody waited any more: dropped.
    pub late: u64,
    /// Answers to what was never asked: dropped.
    pub unknown: u64,
    /// Lines that were no answers: dropped.
    pub garbage: u64,
    /// Questions left in the table.
    pub left: u64,
}

/// The child's side of the demonstration: `upper TEXT` answers in capitals,
/// `wait MS TEXT` answers after so many milliseconds, and `fail TEXT` cannot be done.
pub async fn handle(question: String) -> Answer {
    let (verb, rest) = question.split_once(' ').unwrap_or((&question, ""));
    match verb {
        "upper" => Ok(rest.to_uppercase()),
        "wait" => {
            let (ms, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let ms = ms.parse().map_err(|_| format!("`{ms}` is not a number of milliseconds"))?;
            sleep(Duration::from_millis(ms)).await;
            Ok(text.to_owned())
        }
        "fail" => Err(format!("asked to fail: {rest}")),
        _ => Err(format!("`{verb}` is none of upper, wait, fail")),
    }
}

/// Plays it; `tell` hears what happens when it happens, `kill` kills the child.
/// The talk must run meanwhile. `abandoned` is how many questions to abandon.
pub async fn play(
    asker: &Asker,
    abandoned: usize,
    kill: impl FnOnce() -> Result<()>,
    tell: &mut dyn FnMut(Happened),
) -> Result<Tally> {
    let mut play = Play { asker, tally: Tally::default(), tell };

    play.at_once(&["wait 300 the slow one", "wait 150 the next", "upper the quick one"], PATIENT).await;
    play.at_once(&["fail on purpose"], PATIENT).await;
    play.at_once(&["wait 400 too late"], IMPATIENT).await;
    play.abandon(abandoned).await?;
    play.come_late().await;

    let open = asker.accept("wait 20000 never").await?;
    play.tally.asked += 1;
    let id = open.id();
    (play.tell)(Happened::Asked { id, question: "wait 20000 never".to_owned() });
    // An answer to a later question: the earlier one has been written.
    play.at_once(&["upper still here"], PATIENT).await;
    kill()?;
    (play.tell)(Happened::Killed);
    let answer = timeout(PATIENT, open.answer()).await.unwrap_or(Err(Failure::TimedOut(PATIENT)));
    play.conclude(Some(id), "wait 20000 never", answer);

    let (mut tally, dropped) = (play.tally, asker.dropped());
    (tally.late, tally.unknown) = (dropped.late, dropped.unknown);
    (tally.garbage, tally.left) = (asker.garbage(), asker.open() as u64);
    Ok(tally)
}

struct Play<'a> {
    asker: &'a Asker,
    tally: Tally,
    tell: &'a mut dyn FnMut(Happened),
}

impl Play<'_> {
    /// Asks all of them before the first is answered.
    async fn at_once(&mut self, questions: &[&str], deadline: Duration) {
        let mut answers = FuturesUnordered::new();
        for &question in questions {
            self.tally.asked += 1;
            let open = match self.asker.accept(question).await {
                Ok(open) => open,
                Err(why) => {
                    self.conclude(None, question, Err(why));
                    continue;
                }
            };
            let id = open.id();
            (self.tell)(Happened::Asked { id, question: question.to_owned() });
            answers.push(async move {
                let answer = timeout(deadline, open.answer()).await;
                (id, question, answer.unwrap_or(Err(Failure::TimedOut(deadline))))
            });
        }
        while let Some((id, question, answer)) = answers.next().await {
            self.conclude(Some(id), question, answer);
        }
    }

    async fn abandon(&mut self, count: usize) -> Result<()> {
        let asker = self.asker;
        let accepted = join_all((0..count).map(|number| async move {
            let question = format!("upper nobody waits for {number}");
            // Its ticket is dropped.
            asker.accept(&question).await.map(|open| open.id())
        }));
        let accepted = timeout(PATIENT, accepted).await;
        let seconds = PATIENT.as_secs();
        let accepted =
            accepted.with_context(|| format!("the child has not read {count} questions in {seconds} s"))?;
        let (ids, refused): (Vec<_>, Vec<_>) = accepted.into_iter().partition(Result::is_ok);
        let refused: Vec<Failure> = refused.into_iter().filter_map(Result::err).collect();
        ensure!(refused.is_empty(), "{} of {count} were refused: {}", refused.len(), refused[0]);
        let ids: Vec<u64> = ids.into_iter().flatten().collect();
        let ids = (ids.iter().copied().min().unwrap_or(0), ids.iter().copied().max().unwrap_or(0));
        self.tally.asked += count as u64;
        self.tally.abandoned += count as u64;
        (self.tell)(Happened::Abandoned { count, ids, left: self.asker.open() });
        Ok(())
    }

    /// Waits until every answer that nobody waits for has come.
    async fn come_late(&mut self) {
        let due = self.tally.timed_out + self.tally.abandoned;
        let all = async {
            while self.asker.dropped().late < due {
                sleep(LOOK).await;
            }
        };
        // A child of somebody else's need not answer everything.
        let _ = timeout(PATIENT, all).await;
        (self.tell)(Happened::CameLate(self.asker.dropped().late));
    }

    fn conclude(&mut self, id: Option<u64>, question: &str, answer: Result<String, Failure>) {
        let counter = match &answer {
            Ok(_) => &mut self.tally.answered,
            Err(Failure::Handler(_)) => &mut self.tally.errors,
            Err(Failure::TimedOut(_)) => &mut self.tally.timed_out,
            Err(Failure::Gone(_) | Failure::Refused(_)) => &mut self.tally.gone,
        };
        *counter += 1;
        (self.tell)(Happened::Answered { id, question: question.to_owned(), answer });
    }
}
