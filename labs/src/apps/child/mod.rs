//! Request/reply over two one-way channels, with a correlation identifier: a
//! child process is asked on its stdin and answers on its stdout.
//!
//! The channels are any [`Sender`] and [`Receiver`]: the two pipes of a child
//! ([`lines`]), or the ends of two one-way labs, in this process or over TCP. A
//! message is a line of text:
//!
//! ```text
//! ID QUESTION          to the child
//! ID ok ANSWER         back
//! ID error WHAT        back: it could not be done
//! ```
//!
//! The child may answer in any order, late, or never. Each question has its
//! deadline; an answer after that is late, and is counted and dropped. A line
//! that is not an answer is garbage, and counted, too. When the other side ends,
//! every open question gets an error that says so.
//!
//! Run it with `just correlation`.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::apps::answer::{self, Answer};
use crate::oneway::{Receiver, Sender};
use crate::reqrep::correlation::{Dropped, Pending, Ticket};

pub mod demo;
pub mod lines;

pub use lines::MAX_LINE;

/// Questions accepted and not yet written before the next one has to wait.
const DEPTH: usize = 256;
/// Questions that may be open at once.
const OPEN: usize = 65_536;
/// Questions that one who answers works on at once; more wait in the channel.
const AT_ONCE: usize = 1024;
/// How long a child that has closed its stdout may take to end.
const LEAVING: Duration = Duration::from_secs(1);

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was answered: this went wrong.
    Handler(String),
    /// Nothing came within the deadline.
    TimedOut(Duration),
    /// The other side has ended while the question was open.
    Gone(String),
    /// It was never asked.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "it was answered with an error: {error}"),
            Self::TimedOut(deadline) => write!(f, "no answer within {} ms", deadline.as_millis()),
            Self::Gone(why) => write!(f, "it will not be answered: {why}"),
            Self::Refused(why) => write!(f, "it was not asked: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

/// Makes request/reply out of two one-way channels: one who asks, and a talk
/// that must run meanwhile.
pub fn over<S: Sender, R: Receiver>(sender: S, receiver: R) -> (Asker, Talk<S, R>) {
    let (lines, accepted) = mpsc::channel(DEPTH);
    let (pending, garbage) = (Pending::with_limit(OPEN), Rc::<Cell<u64>>::default());
    let asker = Asker { lines, pending: pending.clone(), garbage: Rc::clone(&garbage) };
    (asker, Talk { sender: Some(sender), receiver, accepted, ends: Ends(pending), garbage })
}

/// Asks. Clones share the table of open questions.
#[derive(Clone)]
pub struct Asker {
    lines: mpsc::Sender<Bytes>,
    pending: Pending<Answer>,
    garbage: Rc<Cell<u64>>,
}

impl Asker {
    /// Asks, and waits for the answer until the deadline is over. Dropping the
    /// future abandons the question.
    pub async fn ask(&self, question: &str, deadline: Duration) -> Result<String, Failure> {
        let asked = async { self.accept(question).await?.answer().await };
        timeout(deadline, asked).await.unwrap_or(Err(Failure::TimedOut(deadline)))
    }

    /// Returns when the question is accepted; it may still wait to be written.
    pub async fn accept(&self, question: &str) -> Result<Open, Failure> {
        let refused = |why: String| Failure::Refused(why);
        if question.contains(['\n', '\r']) {
            return Err(refused("a question is one line, and this one has a line break".to_owned()));
        }
        if question.len() > MAX_LINE - 32 {
            return Err(refused(format!("it has {} bytes; a line has {MAX_LINE}", question.len())));
        }
        let ticket = self.pending.register().map_err(|why| refused(why.to_string()))?;
        let line = format!("{} {question}", ticket.id()).into();
        match self.lines.send(line).await {
            Ok(()) => Ok(Open(ticket)),
            // Nobody takes lines any more; why, the talk will say when it knows.
            Err(_) => Open(ticket).answer().await.and(Err(refused("the talk is over".to_owned()))),
        }
    }

    /// Questions that wait for an answer.
    pub fn open(&self) -> usize {
        self.pending.len()
    }

    /// Answers that reached nobody.
    pub fn dropped(&self) -> Dropped {
        self.pending.dropped()
    }

    /// Lines that were no answers.
    pub fn garbage(&self) -> u64 {
        self.garbage.get()
    }
}

/// A question that was accepted. Dropping it abandons it.
pub struct Open(Ticket<Answer>);

impl Open {
    /// Its correlation identifier.
    pub fn id(&self) -> u64 {
        self.0.id()
    }

    /// Waits for the answer, without a deadline.
    pub async fn answer(self) -> Result<String, Failure> {
        match self.0.reply().await {
            Ok(answer) => answer.map_err(Failure::Handler),
            Err(why) => Err(Failure::Gone(why.to_string())),
        }
    }
}

/// The talk between two sides: it writes questions and reads answers, and must
/// be polled for as long as somebody asks. When it is dropped, nobody waits on.
pub struct Talk<S, R> {
    sender: Option<S>,
    receiver: R,
    accepted: mpsc::Receiver<Bytes>,
    ends: Ends,
    garbage: Rc<Cell<u64>>,
}

/// Wakes everybody who waits when the talk is over, however that comes about.
struct Ends(Pending<Answer>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.close_because("the talk was broken off");
    }
}

impl<S: Sender, R: Receiver> Talk<S, R> {
    /// Runs until the other side has ended.
    pub async fn run(mut self) {
        let why = self.until_end().await;
        self.ends.0.close_because(&why);
    }

    /// The same with a child process, which is waited for at the end, and whose
    /// exit code or signal is in the error of every open question. What it has written
    /// is still read when it has ended, for a moment.
    pub async fn run_with(mut self, mut child: Child) {
        // A process that the child has started may hold its stdout, and keep it open for ever.
        let ended = async {
            let _ = child.wait().await;
            tokio::time::sleep(LEAVING).await;
            "another process keeps its stdout open".to_owned()
        };
        let why = tokio::select! {
            why = self.until_end() => why,
            why = ended => why,
        };
        let why = match timeout(LEAVING, child.wait()).await {
            Ok(Ok(status)) => format!("the child has ended ({status})"),
            Ok(Err(error)) => format!("{why}; its end is not known: {error}"),
            Err(_) => {
                // It can no longer be talked to, and nobody else would end it.
                let _ = child.kill().await;
                format!("{why}, and did not end")
            }
        };
        self.ends.0.close_because(&why);
    }

    async fn until_end(&mut self) -> String {
        let (pending, garbage) = (&self.ends.0, &self.garbage);
        let reading = async {
            loop {
                match self.receiver.recv().await {
                    Ok(Some(line)) => match read_answer(&line) {
                        Some((id, answer)) => drop(pending.hand_out(id, answer)),
                        None => garbage.set(garbage.get() + 1),
                    },
                    Ok(None) => return "the other side has closed its channel".to_owned(),
                    Err(error) => return format!("{error:#}"),
                }
            }
        };
        // Both at once: who writes without reading comes to a stop together with
        // a child that does the same. What cannot be written any more is no end:
        // answers that were written before may still be read.
        let (sender, accepted) = (self.sender.take(), &mut self.accepted);
        let writing = async {
            if let Some(sender) = sender {
                let _ = write(sender, accepted).await;
            }
            accepted.close();
            std::future::pending::<String>().await
        };
        tokio::select! {
            why = reading => why,
            never = writing => never,
        }
    }
}

/// Writes what is accepted, as much as there is with one flush.
async fn write<S: Sender>(mut sender: S, accepted: &mut mpsc::Receiver<Bytes>) -> Result<()> {
    let mut batch = Vec::new();
    while accepted.recv_many(&mut batch, DEPTH).await > 0 {
        for line in batch.drain(..) {
            sender.send(line).await?;
        }
        sender.flush().await?;
    }
    sender.close().await
}

/// Answers what comes in on one channel on the other, up to 1024 questions at
/// once, in the order in which `handler` gets done. Returns when no more
/// questions can come and all are answered. Lines that are no questions are
/// counted in what it returns.
pub async fn serve<S, R, F>(mut sender: S, mut receiver: R, handler: impl Fn(String) -> F) -> Result<u64>
where
    S: Sender,
    R: Receiver,
    F: Future<Output = Answer>,
{
    let (mut working, mut more, mut garbage) = (FuturesUnordered::new(), true, 0);
    loop {
        tokio::select! {
            line = receiver.recv(), if more && working.len() < AT_ONCE => match line? {
                Some(line) => match read_question(&line) {
                    Some((id, question)) => {
                        let answer = handler(question);
                        working.push(async move { (id, answer.await) });
                    }
                    None => garbage += 1,
                },
                None => more = false,
            },
            Some((id, answer)) = working.next() => {
                // An answer is one line, whatever the handler says.
                let text = answer::write(&answer).replace(['\n', '\r'], " ");
                sender.send(format!("{id} {text}").into()).await?;
                sender.flush().await?;
            }
            else => break,
        }
    }
    sender.close().await.map(|()| garbage)
}

/// `ID QUESTION`
fn read_question(line: &[u8]) -> Option<(u64, String)> {
    let (id, question) = split_id(line)?;
    Some((id, question.to_owned()))
}

/// `ID ok ANSWER` or `ID error WHAT`
fn read_answer(line: &[u8]) -> Option<(u64, Answer)> {
    let (id, text) = split_id(line)?;
    Some((id, answer::read(text)?))
}

fn split_id(line: &[u8]) -> Option<(u64, &str)> {
    let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= MAX_LINE)?;
    let (id, text) = line.split_once(' ')?;
    // `parse` alone would take `+7` as well.
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok())?.map(|id| (id, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_asked_can_be_read(id: u64, text in "[^\n\r]*") {
            let line = format!("{id} {text}");
            prop_assert_eq!(read_question(line.as_bytes()), Some((id, text.clone())));
            let line = format!("{id} {}", answer::write(&Ok(text.clone())));
            prop_assert_eq!(read_answer(line.as_bytes()), Some((id, Ok(text))));
        }
    }

    #[test]
    fn what_is_no_answer_is_garbage() {
        let long = format!("1 ok {}", "x".repeat(MAX_LINE));
        for line in ["", "1", "1 ", "1 maybe", " 1 ok x", "-1 ok x", "+1 ok x", "one ok x", long.as_str()] {
            assert_eq!(read_answer(line.as_bytes()), None, "{line:.20}");
        }
        assert_eq!(read_answer(b"1 ok \xff"), None, "not text");
        assert_eq!(read_answer(b"99999999999999999999 ok x"), None, "no number of ours");
    }

    #[test]
    fn fuzz_child_lines() {
        let seeds = ["1 ok done", "18446744073709551615 error no", "0 ok"];
        fuzz::Target::new("child_lines").seeds(seeds).run(|line| {
            let question = read_question(line);
            if let Some((id, text)) = &question {
                assert_eq!(read_question(format!("{id} {text}").as_bytes()), question);
            }
            let answer = read_answer(line);
            if let Some((id, text)) = &answer {
                assert_eq!(read_answer(format!("{id} {}", answer::write(text)).as_bytes()), answer);
            }
            answer.is_some()
        });
    }
}
