//! Scatter-gather: a question goes out to all workers, and the answers that come
//! within a deadline make one result, which says how complete it is.
//!
//! The question is published, so that the gatherer need not know the workers.
//! It is a request message ([`return_address`]): the return address is a topic that
//! only the gatherer listens to, and the correlation identifier says which of its
//! questions an answer belongs to. An answer that comes after the deadline is late:
//! it is counted and dropped, and never taken for an answer to the next question.
//!
//! A result is complete when all *known* workers have answered. A worker announces
//! itself every [`HEARTBEAT`]; it is forgotten when it was silent for [`EXPIRY`] or
//! has said that it leaves. "2 of 3" means: three were known when the question went
//! out, and two of them answered. Answers of unknown workers are taken, too.
//!
//! Run it with `just status`.
//!
//! [`return_address`]: crate::reqrep::return_address

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::apps::answer::Answer;
use crate::erased::{AnyPublisher, AnySubscriber, PubSubLab};
use crate::lab::{BrokerAddress, Place};
use crate::pubsub::{Event, Publisher, Subscriber};
use crate::reqrep::return_address::request_message;
use crate::topic::{Filter, Topic};

mod known;
mod message;
pub mod web;
mod worker;

pub use known::Known;
pub use message::HEARTBEAT;
use message::{HERE, QUESTIONS, is_name, read_answer, read_heartbeat};
pub use worker::work;

/// A worker that was silent for this long is forgotten.
pub const EXPIRY: Duration = Duration::from_millis(1500);
/// Most workers that are known at once, and most answers to one question.
pub const MOST: usize = 1024;

/// The result of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// The workers that were known when the question went out, with their answers;
    /// `None` for no answer within the deadline.
    pub known: BTreeMap<String, Option<Answer>>,
    /// Answers of workers that were not known.
    pub strangers: BTreeMap<String, Answer>,
    /// Late answers, since the gatherer joined: answers to earlier questions, dropped.
    pub late: u64,
    /// Other messages that were dropped since then: what could not be read, a
    /// worker's second answer, and answers and heartbeats beyond [`MOST`].
    pub garbage: u64,
}

impl Gathered {
    /// Known workers that have not answered.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.known.iter().filter(|(_, answer)| answer.is_none()).map(|(name, _)| name.as_str())
    }

    /// How many known workers have answered.
    pub fn answered(&self) -> usize {
        self.known.values().flatten().count()
    }

    /// Whether at least one worker was known, and all known workers have answered.
    pub fn is_complete(&self) -> bool {
        !self.known.is_empty() && self.answered() == self.known.len()
    }

    /// Records an answer to this question.
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

/// Asks all workers.
pub struct Gatherer {
    questions: AnyPublisher,
    answers: AnySubscriber,
    heartbeats: AnySubscriber,
    place: Place,
    address: Topic,
    known: Known,
    last_id: u64,
    late: u64,
    garbage: u64,
}

/// What the gatherer receives.
enum Heard {
    Answer(Event),
    Heartbeat(Event),
}

impl Gatherer {
    /// Joins under a name that no other gatherer has at this place: a word of
    /// letters, digits, `_` and `-`.
    pub async fn join(lab: &PubSubLab, place: &Place, name: &str) -> Result<Self> {
        let address = Topic::new(&format!("to.{name}"))?;
        let listen = async |topic: Topic| lab.subscriber(place, &Filter::Exact(topic)).await;
        Ok(Self {
            // Live before the first question: no answer can come too early.
            answers: listen(address.clone()).await?,
            heartbeats: listen(Topic::new(HERE)?).await?,
            questions: lab.publisher(place).await?,
            place: place.clone(),
            address,
            known: Known::new(EXPIRY, MOST),
            last_id: 0,
            late: 0,
            garbage: 0,
        })
    }

    /// The names of the workers that are known now.
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

    /// Listens to heartbeats during a pause between two questions.
    pub async fn rest(&mut self, pause: Duration) -> Result<()> {
        let until = Instant::now() + pause;
        while let Ok(heard) = timeout_at(until, self.hear()).await {
            self.put_away(heard?)?;
        }
        Ok(())
    }

    /// Asks all workers, and gathers answers until all known workers have answered
    /// or the deadline is over. If none is known, it gathers until the deadline.
    pub async fn gather(&mut self, question: &str, deadline: Duration) -> Result<Gathered> {
        self.last_id += 1;
        let known = self.known().into_iter().map(|name| (name, None)).collect();
        let mut gathered = Gathered { known, strangers: BTreeMap::new(), late: 0, garbage: 0 };
        let request = request_message(self.address.as_str(), self.last_id, question.as_bytes());
        self.questions.publish(&Topic::new(QUESTIONS)?, request.into()).await?;
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
        let ended = "the subscription has ended";
        Ok(tokio::select! {
            event = self.answers.next() => Heard::Answer(event?.context(ended)?),
            event = self.heartbeats.next() => Heard::Heartbeat(event?.context(ended)?),
        })
    }

    /// Handles a message that comes while no question is open.
    fn put_away(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Answer(event) => self.drop_answer(read_answer(&event.body).map(|(id, ..)| id)),
            Heard::Heartbeat(event) => match read_heartbeat(&event.body) {
                Some((name, true)) => self.known.heard(name, Instant::now()),
                Some((name, false)) => self.known.left(name),
                None => self.skip("not a heartbeat"),
            },
        }
        Ok(())
    }

    /// An answer to a question that was asked is late, anything else is garbage.
    fn drop_answer(&mut self, id: Option<u64>) {
        match id {
            Some(id) if (1..=self.last_id).contains(&id) => self.late += 1,
            _ => self.skip("not an answer"),
        }
    }

    fn skip(&mut self, why: &str) {
        self.garbage += 1;
        self.place.message_skipped(why);
    }
}

/// The place of a scatter-gather; an error if its name is not valid.
pub fn place(name: &str, address: Option<&BrokerAddress>) -> Result<Place> {
    ensure!(
        is_name(name),
        "`{name}` is not a name for a place: use letters, digits, `_` and `-`, 64 at most"
    );
    Ok(Place::new(name, address))
}

#[cfg(test)]
mod tests {
    use super::*;

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
