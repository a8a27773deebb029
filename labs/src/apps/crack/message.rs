//! The messages: one line of ASCII, words separated by a space, so that a worker in
//! another language can read them with `split`.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;

use super::words::{Alphabet, Hash, LONGEST};

/// The namespace of the control channel, and the topic of `stop` in it.
pub(super) const CONTROL: &str = "control";
/// The message on the control channel: workers leave.
pub(super) const STOP: &str = "stop";

/// Longest body that is read: an alphabet has at most 94 letters, a word 64.
const MAX_LEN: usize = 512;

/// A range of words: `count` words, from the one numbered `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// Number of the first word.
    pub start: u64,
    /// Number of words.
    pub count: u64,
}

impl Range {
    /// Whether it holds the word of this number.
    pub fn holds(&self, number: u64) -> bool {
        number >= self.start && number - self.start < self.count
    }
}

/// From the first to the last number.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.start + self.count.saturating_sub(1))
    }
}

/// A task: `HASH ALPHABET START COUNT`. A worker needs to know nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The hash whose word is searched for.
    pub hash: Hash,
    /// The letters of the words.
    pub alphabet: Alphabet,
    /// Which words to try.
    pub range: Range,
}

impl Task {
    /// Reads a task; an error says why the body is not a task.
    pub fn read(body: &[u8]) -> Result<Self> {
        let [hash, alphabet, start, count] = fields(body)?[..] else {
            bail!("a task is `HASH ALPHABET START COUNT`");
        };
        let (alphabet, range) = (Alphabet::of(alphabet)?, range(start, count)?);
        let words = alphabet.words(LONGEST).unwrap_or(u64::MAX);
        ensure!(range.start + range.count <= words, "words of more than {LONGEST} letters are not tried");
        Ok(Self { hash: hash.parse()?, alphabet, range })
    }

    /// The task as it is written.
    pub fn write(&self) -> Bytes {
        let Range { start, count } = self.range;
        format!("{} {} {start} {count}", self.hash, self.alphabet).into()
    }
}

/// A worker's message to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// `joined WORKER`: it is subscribed to `stop`, and takes tasks.
    Joined(String),
    /// `left WORKER`: it has received `stop`, or was shut down.
    Left(String),
    /// `tried START COUNT [WORKER [ATTEMPT]]`, or
    /// `found START COUNT WORD [WORKER [ATTEMPT]]`.
    Done {
        /// The task's range.
        range: Range,
        /// The word, if it is in the range; the words after it were not tried.
        found: Option<String>,
        /// The worker's name, which a worker in another language may leave out.
        worker: Option<String>,
        /// Which delivery of the task this was; 1 is the first.
        attempt: u32,
    },
}

impl Report {
    /// Reads a report; an error says why the body is not a report.
    pub fn read(body: &[u8]) -> Result<Self> {
        let done = |start: &str, count: &str, found: Option<&str>, rest: &[&str]| {
            let (worker, attempt) = match rest {
                [] => (None, 1),
                [worker] => {
                    // Written again it has its attempt, too.
                    ensure!(body.len() + " 1".len() <= MAX_LEN, "the worker's name is too long");
                    (Some((*worker).to_owned()), 1)
                }
                [worker, attempt] => {
                    (Some((*worker).to_owned()), attempt.parse().context("the attempt is not a number")?)
                }
                _ => bail!("the report has too many fields"),
            };
            Ok(Self::Done { range: range(start, count)?, found: found.map(str::to_owned), worker, attempt })
        };
        match fields(body)?[..] {
            ["joined", worker] => Ok(Self::Joined(worker.to_owned())),
            ["left", worker] => Ok(Self::Left(worker.to_owned())),
            ["tried", start, count, ref rest @ ..] => done(start, count, None, rest),
            ["found", start, count, word, ref rest @ ..] => done(start, count, Some(word), rest),
            _ => bail!("a report begins with `joined`, `tried`, `found` or `left`"),
        }
    }

    /// The report as it is written.
    pub fn write(&self) -> Bytes {
        match self {
            Self::Joined(worker) => format!("joined {worker}"),
            Self::Left(worker) => format!("left {worker}"),
            Self::Done { range: Range { start, count }, found, worker, attempt } => {
                let what = if found.is_some() { "found" } else { "tried" };
                let word = found.as_ref().map(|word| format!(" {word}")).unwrap_or_default();
                let by = worker.as_ref().map(|worker| format!(" {worker} {attempt}")).unwrap_or_default();
                format!("{what} {start} {count}{word}{by}")
            }
        }
        .into()
    }
}

fn fields(body: &[u8]) -> Result<Vec<&str>> {
    ensure!(body.len() <= MAX_LEN, "{} bytes are more than a message can have", body.len());
    ensure!(body.iter().all(|byte| matches!(byte, b' '..=b'~')), "not a line of ASCII");
    Ok(std::str::from_utf8(body)?.split(' ').collect())
}

fn range(start: &str, count: &str) -> Result<Range> {
    let number = |text: &str| text.parse().with_context(|| format!("`{text}` is not a number"));
    let (start, count): (u64, u64) = (number(start)?, number(count)?);
    ensure!(
        count > 0 && start.checked_add(count).is_some(),
        "a range of {count} words from number {start} is not possible"
    );
    Ok(Range { start, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reports_of_any_worker_are_read() {
        let done = |found: Option<&str>, worker: Option<&str>, attempt| Report::Done {
            range: Range { start: 0, count: 100 },
            found: found.map(str::to_owned),
            worker: worker.map(str::to_owned),
            attempt,
        };
        for (body, report) in [
            ("tried 0 100", done(None, None, 1)),
            ("tried 0 100 me", done(None, Some("me"), 1)),
            ("tried 0 100 me 2", done(None, Some("me"), 2)),
            ("found 0 100 abc", done(Some("abc"), None, 1)),
            ("found 0 100 abc me 3", done(Some("abc"), Some("me"), 3)),
            ("joined me", Report::Joined("me".to_owned())),
            ("left me", Report::Left("me".to_owned())),
        ] {
            assert_eq!(Report::read(body.as_bytes()).expect(body), report);
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        for body in [
            "",
            "tried",
            "tried 0",
            "tried 0 0",
            "tried -1 5",
            "tried 0 x",
            "tried 18446744073709551615 1",
            "tried 0 1 me 1 more",
            "tried 0 1 me x",
            "found 0 1",
            "hello",
            "joined",
            "joined a b",
            "tried  0 1",
        ] {
            assert!(Report::read(body.as_bytes()).is_err(), "`{body}` was taken");
        }
        let hash = Hash::of("hello");
        for body in [
            String::new(),
            format!("{hash} abc 0"),
            format!("{hash} abc 0 0"),
            format!("{hash} aa 0 1"),
            format!("{hash} a 60 5"),
            format!("{hash} abc 18446744073709551615 1"),
            "x abc 0 1".to_owned(),
            format!("{hash} abc 0 1 1"),
        ] {
            assert!(Task::read(body.as_bytes()).is_err(), "`{body}` was taken");
        }
    }

    proptest! {
        #[test]
        fn tasks_survive_the_wire(start in 0_u64..1 << 60, count in 1_u64..1 << 60, word: String) {
            let alphabet = "a-z0-9-".parse().expect("an alphabet");
            let task = Task { hash: Hash::of(&word), alphabet, range: Range { start, count } };
            prop_assert_eq!(Task::read(&task.write()).expect("a task"), task);
        }

        #[test]
        fn reports_survive_the_wire(
            start in 0_u64..1 << 60, count in 1_u64..1 << 60, attempt in 1_u32..9,
            found in proptest::option::of("[!-~]{1,9}"), worker in "[a-z0-9-]{1,20}",
        ) {
            let report = Report::Done { range: Range { start, count }, found, worker: Some(worker), attempt };
            prop_assert_eq!(Report::read(&report.write()).expect("a report"), report);
        }
    }

    #[test]
    fn fuzz_crack_lines() {
        let seeds = [
            "a9993e364706816aba3e25717850c26c9cd0d89d abc0 17 100",
            "joined me",
            "left me",
            "tried 0 100 me 2",
            "found 0 100 abc me 3",
        ];
        fuzz::Target::new("crack_lines").seeds(seeds).run(|input| {
            if let Ok(task) = Task::read(input) {
                assert_eq!(Task::read(&task.write()).expect("a task"), task);
                let Range { start, count } = task.range;
                let last = task.alphabet.word(start + count - 1);
                assert!(last.len() <= LONGEST as usize && task.range.to_string().contains('-'));
                task.alphabet.walk(start).search(&task.hash, count.min(2));
                return true;
            }
            let Ok(report) = Report::read(input) else { return false };
            assert_eq!(Report::read(&report.write()).expect("a report"), report);
            true
        });
    }
}
