//! Scatter-gather: one question goes out to everybody, what comes back within a
//! deadline is one answer, and the answer says how complete it is.
//!
//! The question is published, so that whoever asks need not know who answers.
//! It is a letter ([`return_address`]): the return address is a topic that only
//! the one who asks listens to, and the correlation identifier says which of its
//! questions an answer belongs to. One that comes after the deadline is late: it
//! is counted and dropped, and never taken for an answer to the next question.
//!
//! *All* has to mean something before completeness can: workers announce
//! themselves every [`HEARTBEAT`], and whoever was silent for [`EXPIRY`], or has
//! said good-bye, is forgotten. "2 of 3" is: three were known when the question
//! went out, and two of them answered. Who answers without being known is welcome.
//!
//! Run it with `just status`.
//!
//! [`return_address`]: crate::reqrep::return_address

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::apps::answer::{self, Answer};
use crate::erased::{AnyPublisher, AnySubscriber, PubSubLab};
use crate::lab::Place;
use crate::pubsub::{Event, Publisher, Subscriber};
use crate::reqrep::return_address::{open_reply, request_letter};
use crate::topic::{Filter, Topic};

mod known;
pub mod web;
mod worker;

pub use known::Known;
pub use worker::work;

/// How often a worker announces itself.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// A worker that was silent for so long is no longer counted on.
pub const EXPIRY: Duration = Duration::from_millis(1500);
/// Most workers that are known at once, and most answers to one question.
pub const MOST: usize = 1024;

/// Where questions go.
const QUESTIONS: &str = "ask";
/// Where workers announce themselves.
const HERE: &str = "here";

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// Who was known when the question went out, and what each has answered;
    /// `None` for nothing within the deadline.
    pub known: BTreeMap<String, Option<Answer>>,
    /// Answers of those who were not known.
    pub strangers: BTreeMap<String, Answer>,
    /// Answers to earlier questions that have come by now, since the one who
    /// asks began: dropped.
    pub late: u64,
    /// What came and was no answer, a second one of the same worker, or for which
    /// there was no room any more (heartbeats, too), since then: dropped.
    pub garbage: u64,
}

impl Gathered {
    /// Those who were known and have not answered.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.known.iter().filter(|(_, answer)| answer.is_none()).map(|(name, _)| name.as_str())
    }

    /// How many of those who were known have answered.
    pub fn answered(&self) -> usize {
        self.known.values().flatten().count()
    }

    /// Whether somebody was known, and all who were have answered.
    pub fn is_complete(&self) -> bool {
        !self.known.is_empty() && self.answered() == self.known.len()
    }

    /// Takes down an answer to this question.
    fn take(&mut self, name: &str, answer: Answer) {
        match self.known.get_mut(name) {
            Some(place @ None) => *place = Some(answer),
            None if !self.strangers.contains_key(name) && self.strangers.len() < MOST => {
                self.strangers.insert(name.to_owned(), answer);
            }
            _ => self.garbage += 1,
        }
    }
}

/// Asks everybody.
pub struct Gatherer {
    questions: AnyPublisher,
    answers: AnySubscriber,
    heartbeats: AnySubscriber,
    address: Topic,
    known: Known,
    last_id: u64,
    late: u64,
    garbage: u64,
}

/// What the one who asks may hear.
enum Heard {
    Answer(Event),
    Heartbeat(Event),
}

impl Gatherer {
    /// Joins as the one who asks, under a name that nobody else has here: a word
    /// of letters, digits, `_` and `-`.
    pub async fn join(lab: &PubSubLab, place: &Place, name: &str) -> Result<Self> {
        let address = Topic::new(&format!("to.{name}"))?;
        let listen = async |topic: Topic| lab.subscriber(place, &Filter::Exact(topic)).await;
        Ok(Self {
            // Live before the first question: no answer can come too early.
            answers: listen(address.clone()).await?,
            heartbeats: listen(Topic::new(HERE)?).await?,
            questions: lab.publisher(place).await?,
            address,
            known: Known::new(EXPIRY, MOST),
            last_id: 0,
            late: 0,
            garbage: 0,
        })
    }

    /// Workers that are known now.
    pub fn known(&mut self) -> Vec<String> {
        self.known.names(Instant::now())
    }

    /// Listens to heartbeats until `count` workers are known, but no longer
    /// than `patience`. Returns how many are.
    pub async fn meet(&mut self, count: usize, patience: Duration) -> Result<usize> {
        let until = Instant::now() + patience;
        while self.known().len() < count {
            match timeout_at(until, self.hear()).await {
                Ok(heard) => self.put_away(heard?)?,
                Err(_) => break,
            }
        }
        Ok(self.known().len())
    }

    /// Listens to heartbeats for so long: between two questions.
    pub async fn rest(&mut self, pause: Duration) -> Result<()> {
        let until = Instant::now() + pause;
        while let Ok(heard) = timeout_at(until, self.hear()).await {
            self.put_away(heard?)?;
        }
        Ok(())
    }

    /// Asks everybody, and gathers until all who are known have answered or the
    /// deadline is over. Where nobody is known, it waits for strangers.
    pub async fn gather(&mut self, question: &str, deadline: Duration) -> Result<Gathered> {
        self.last_id += 1;
        let known = self.known().into_iter().map(|name| (name, None)).collect();
        let mut gathered = Gathered { known, strangers: BTreeMap::new(), late: 0, garbage: 0 };
        let letter = request_letter(self.address.as_str(), self.last_id, question.as_bytes());
        self.questions.publish(&Topic::new(QUESTIONS)?, letter.into()).await?;
        self.questions.flush().await?;
        let until = Instant::now() + deadline;
        while !gathered.is_complete() {
            match timeout_at(until, self.hear()).await {
                Ok(heard) => match heard? {
                    Heard::Answer(event) => match read_answer(&event.body) {
                        Some((id, name, answer)) if id == self.last_id => gathered.take(&name, answer),
                        other => self.drop_answer(other.map(|(id, ..)| id)),
                    },
                    heartbeat => self.put_away(heartbeat)?,
                },
                Err(_) => break,
            }
        }
        self.garbage += gathered.garbage;
        (gathered.late, gathered.garbage) = (self.late, self.garbage + self.known.refused());
        Ok(gathered)
    }

    /// Leaves.
    pub async fn leave(self) -> Result<()> {
        self.questions.close().await
    }

    /// Cancel-safe, as both subscribers are.
    async fn hear(&mut self) -> Result<Heard> {
        let ended = "nobody can publish here any more";
        Ok(tokio::select! {
            event = self.answers.next() => Heard::Answer(event?.context(ended)?),
            event = self.heartbeats.next() => Heard::Heartbeat(event?.context(ended)?),
        })
    }

    /// What comes while no question is open.
    fn put_away(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Answer(event) => self.drop_answer(read_answer(&event.body).map(|(id, ..)| id)),
            Heard::Heartbeat(event) => match worker::read_heartbeat(&event.body) {
                Some((name, true)) => self.known.heard(name, Instant::now()),
                Some((name, false)) => self.known.left(name),
                None => self.garbage += 1,
            },
        }
        Ok(())
    }

    /// An answer to a question that was asked is late, anything else is garbage.
    fn drop_answer(&mut self, id: Option<u64>) {
        match id {
            Some(id) if (1..=self.last_id).contains(&id) => self.late += 1,
            _ => self.garbage += 1,
        }
    }
}

/// `ID\nNAME ok TEXT`, or `ID\nNAME error WHAT`.
fn read_answer(letter: &Bytes) -> Option<(u64, String, Answer)> {
    let (id, body) = open_reply(letter)?;
    let (name, text) = std::str::from_utf8(&body).ok()?.split_once(' ')?;
    is_name(name).then_some(())?;
    Some((id, name.to_owned(), answer::read(text)?))
}

/// A worker's name: a word of a topic, which goes into tables and pages.
fn is_name(name: &str) -> bool {
    name.len() <= 64 && !name.contains('.') && Topic::new(name).is_ok()
}

/// The place where a scatter-gather happens, after its name was looked at.
pub fn place(name: &str, url: &str) -> Result<Place> {
    ensure!(
        is_name(name),
        "`{name}` is not a name for a place: use letters, digits, `_` and `-`, 64 at most"
    );
    Ok(Place::new(name, Some(url)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reqrep::return_address::reply_letter;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_answer_can_be_read(id: u64, name in "[a-z][a-z0-9-]{0,20}", text: String, good: bool) {
            let answer = if good { Ok(text) } else { Err(text) };
            let body = format!("{name} {}", answer::write(&answer));
            let letter = Bytes::from(reply_letter(id.to_string().as_bytes(), body.as_bytes()));
            prop_assert_eq!(read_answer(&letter), Some((id, name, answer)));
        }

        #[test]
        fn whatever_comes_is_no_panic(letter in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some((_, name, _)) = read_answer(&letter.into()) {
                prop_assert!(is_name(&name));
            }
        }
    }

    /// The answer to the first question comes while the second is open.
    #[tokio::test(flavor = "current_thread")]
    async fn a_late_answer_is_no_answer_to_the_next_question() {
        let place = Place::new("late", None);
        let lab = PubSubLab::of::<crate::pubsub::inproc::Inproc>();
        let mut gatherer = Gatherer::join(&lab, &place, "me").await.expect("joined");
        let delay = Duration::from_millis(150);
        let echo = |question: &str| Ok(question.to_owned());
        let asking = async {
            assert_eq!(gatherer.meet(1, Duration::from_secs(30)).await.expect("heard"), 1);
            let first = gatherer.gather("first", Duration::from_millis(20)).await.expect("asked");
            let second = gatherer.gather("second", Duration::from_secs(30)).await.expect("asked");
            (first, second)
        };
        let (first, second) = tokio::select! {
            gathered = asking => gathered,
            worked = work(&lab, &place, "slow", delay, echo, std::future::pending()) => panic!("{worked:?}"),
        };
        assert_eq!((first.is_complete(), first.missing().next()), (false, Some("slow")));
        assert_eq!(second.known["slow"], Some(Ok("second".to_owned())));
        assert_eq!((second.late, second.garbage), (1, 0));
    }

    #[test]
    fn completeness_is_of_those_who_were_known() {
        let known = ["a", "b"].map(|name| (name.to_owned(), None)).into();
        let mut gathered = Gathered { known, strangers: BTreeMap::new(), late: 0, garbage: 0 };
        gathered.take("a", Ok("1".to_owned()));
        gathered.take("c", Ok("3".to_owned()));
        assert_eq!((gathered.answered(), gathered.is_complete()), (1, false));
        assert_eq!(gathered.missing().collect::<Vec<_>>(), ["b"]);
        gathered.take("a", Ok("again".to_owned()));
        assert_eq!(gathered.garbage, 1, "a worker answers once");
        gathered.take("b", Err("2".to_owned()));
        assert!(gathered.is_complete(), "an error is an answer");
        let nobody = Gathered { known: BTreeMap::new(), ..gathered };
        assert!(!nobody.is_complete(), "that nobody is known is no complete answer");
    }
}
