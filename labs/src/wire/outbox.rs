//! A queue that lives with its producer, in a log, delivered over TCP: what
//! comes is committed, confirmed, offered to the consumers that are here, and
//! taken out of the log when it is acked.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::MissedTickBehavior;

use super::hub::{Guest, Hub, News};
use super::keeper::{Letter, Letters};
use super::log::Log;
use super::socket::Bound;
use super::unsettled::Unsettled;
use super::word::Word;
use crate::lab::Place;

/// Messages in one commit, at most.
const GROUP: usize = 512;
/// How long an ack waits for others to be logged with.
const SETTLE: Duration = Duration::from_millis(20);

/// The log, and the consumers that are here.
pub(crate) struct Outbox {
    hub: Hub,
    log: Log,
    unsettled: Unsettled<Guest>,
    /// What the next commit takes out of the log, and who is told of it then.
    settled: Settled,
}

#[derive(Default)]
struct Settled {
    ids: Vec<u64>,
    answers: Vec<(Guest, u64)>,
}

/// A commit that is through: for whom, and what came of it.
type Committed = (Vec<Letter>, Settled, Result<()>);

impl Outbox {
    /// Opens the role's log, and the door to those who want what is in it.
    pub(crate) async fn open(place: &Place, fsync: bool) -> Result<Self> {
        let (log, left) = Log::open(place, fsync)?;
        let unsettled = Unsettled::new(log.next, left);
        Ok(Self { hub: Hub::new(Bound::tcp(place).await?), log, unsettled, settled: Settled::default() })
    }

    /// Takes letters until no more can come, then delivers what it can to
    /// those who are here, for as long as `linger`.
    pub(crate) async fn keep(mut self, mut letters: Letters, linger: Duration) -> Result<()> {
        // One commit at a time; whatever comes meanwhile shares the next one.
        let mut commit = FuturesUnordered::new();
        let mut group = Vec::with_capacity(GROUP);
        // Nobody waits for an ack to be logged: so it waits for company, a while.
        let mut late = tokio::time::interval(SETTLE);
        late.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut closing, mut last_order) = (false, pin!(tokio::time::sleep(linger)));
        loop {
            let mut due = false;
            tokio::select! {
                news = self.hub.news() => self.hear(news?),
                count = letters.recv_many(&mut group, GROUP), if !closing && commit.is_empty() => {
                    if count == 0 {
                        closing = true;
                        last_order.set(tokio::time::sleep(linger));
                    }
                }
                Some(committed) = commit.next() => self.committed(committed)?,
                _ = late.tick(), if !self.settled.ids.is_empty() && commit.is_empty() => due = true,
                () = &mut last_order, if closing => break,
            }
            for _ in 0..GROUP {
                let Some(news) = unconstrained(self.hub.news()).now_or_never() else { break };
                self.hear(news?);
            }
            if commit.is_empty() {
                while let (true, Ok(letter)) = (group.len() < GROUP, letters.try_recv()) {
                    group.push(letter);
                }
                due |= closing || self.settled.ids.len() >= GROUP;
                if !group.is_empty() || (due && !self.settled.ids.is_empty()) {
                    commit.push(self.commit(std::mem::take(&mut group)));
                } else if closing && (self.unsettled.is_empty() || !self.unsettled.has_guests()) {
                    // What nobody has fetched stays in the log for the next time.
                    break;
                }
            }
            self.deliver()?;
        }
        let _ = tokio::time::timeout(linger, self.hub.flush()).await;
        Ok(())
    }

    fn hear(&mut self, news: News) {
        let (guest, frame) = match news {
            News::Frame(guest, frame) => (guest, frame),
            News::Left(guest) => return self.unsettled.leave(&guest),
        };
        match Word::read(frame) {
            Ok(Word::Join(limit)) => {
                self.unsettled.join(guest, limit as usize);
                self.say(guest, &Word::Welcome(self.log.identity));
            }
            Ok(Word::Acked(token, ids)) => {
                self.settled.ids.extend(ids.into_iter().filter(|id| self.unsettled.settle(*id)));
                self.settled.answers.push((guest, token));
                self.say(guest, &Word::Known(token));
            }
            Ok(Word::Nacked(ids)) => ids.iter().for_each(|id| self.unsettled.give_back(&guest, *id)),
            Ok(Word::Leave(token)) => {
                self.unsettled.leave(&guest);
                self.say(guest, &Word::Known(token));
            }
            _ => self.hub.expel(guest),
        }
    }

    fn commit(&mut self, group: Vec<Letter>) -> impl Future<Output = Committed> + Send + use<> {
        let settled = std::mem::take(&mut self.settled);
        let bodies = group.iter().map(|letter| letter.body.clone()).collect();
        let written = self.log.commit(bodies, settled.ids.clone());
        async move { (group, settled, written.await) }
    }

    /// Confirms what is in the log now. A log that could not be written once
    /// takes nothing any more: then this is the end, until the next start.
    fn committed(&mut self, (group, settled, written): Committed) -> Result<()> {
        // Whoever waited may have given up: what happened has happened all the same.
        if let Err(error) = written {
            let refuse = |letter: Letter| drop(letter.confirm.send(Err(anyhow!("{error:#}"))));
            group.into_iter().for_each(refuse);
            return Err(error);
        }
        self.log.wrote(group.iter().map(|letter| letter.body.clone()));
        for letter in group {
            self.unsettled.admit();
            drop(letter.confirm.send(Ok(())));
        }
        for (guest, token) in settled.answers {
            self.say(guest, &Word::Durable(token));
        }
        Ok(())
    }

    /// Delivers what may be delivered; it is written while the hub is listened to.
    fn deliver(&mut self) -> Result<()> {
        while let Some(offer) = self.unsettled.offer() {
            let body = self.log.body(offer.id)?;
            self.say(offer.guest, &Word::Message(offer.id, offer.attempt, body));
        }
        Ok(())
    }

    /// Accepts a word for a guest. The hub says by itself when one has left.
    fn say(&mut self, guest: Guest, word: &Word) {
        if self.hub.put(guest, &[&word.head(), word.body()]).is_err() {
            self.hub.expel(guest);
        }
    }
}
