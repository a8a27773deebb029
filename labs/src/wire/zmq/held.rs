//! A queue that lives in its producer's memory, delivered over a ROUTER socket:
//! what comes is offered to the consumers that are heard of, and confirmed
//! when one of them has acked it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::unconstrained;
use tokio::time::Instant;
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use super::Gauge;
use crate::lab::Place;
use crate::wire::keeper::{Letter, Letters};
use crate::wire::unsettled::Unsettled;
use crate::wire::word::Word;

/// Messages taken note of at once.
const GROUP: usize = 1024;

/// What the producer holds, and whom it hears. Consumers have the identity
/// that ROUTER gives each connection.
pub(crate) struct Held {
    socket: RouterSocket,
    unsettled: Unsettled<Bytes>,
    letters: HashMap<u64, Letter>,
    heard: HashMap<Bytes, Instant>,
    identity: u64,
    lease: Duration,
    answers: Gauge,
}

impl Held {
    /// Opens the door to those who want what is held. One that is not heard of
    /// for the time of a lease is taken to be gone.
    pub(crate) async fn bind(place: &Place, lease: Duration) -> Result<Self> {
        let mut socket = RouterSocket::new();
        super::bind(&mut socket, place).await?;
        Ok(Self {
            socket,
            unsettled: Unsettled::new(1, []),
            letters: HashMap::new(),
            heard: HashMap::new(),
            identity: RandomState::new().hash_one("a queue"),
            lease,
            answers: Gauge::default(),
        })
    }

    /// Takes letters, no more than `high_water` at a time, until no more can
    /// come, then waits for those who are here, for as long as `linger`.
    pub(crate) async fn keep(
        mut self,
        mut letters: Letters,
        high_water: usize,
        linger: Duration,
    ) -> Result<()> {
        let mut look = tokio::time::interval(self.lease / 4);
        let mut group = Vec::with_capacity(GROUP);
        loop {
            tokio::select! {
                message = self.socket.recv() => self.hear(message?).await,
                count = letters.recv_many(&mut group, GROUP), if self.unsettled.len() < high_water => {
                    if count == 0 {
                        break;
                    }
                    for letter in group.drain(..) {
                        self.letters.insert(self.unsettled.admit(), letter);
                    }
                }
                _ = look.tick() => self.give_up_the_silent(),
            }
            self.go_on().await?;
        }
        let rest = async {
            while self.unsettled.has_guests() && !self.unsettled.is_empty() {
                tokio::select! {
                    message = self.socket.recv() => self.hear(message?).await,
                    _ = look.tick() => self.give_up_the_silent(),
                }
                self.go_on().await?;
            }
            self.answers.drained().await;
            Ok(())
        };
        let left = tokio::time::timeout(linger, rest).await;
        left.unwrap_or_else(|_| Err(anyhow!("{} messages were not acked", self.unsettled.len())))
    }

    async fn hear(&mut self, message: ZmqMessage) {
        let mut frames = message.into_vec().into_iter();
        let (Some(guest), Some(head)) = (frames.next(), frames.next()) else { return };
        if let Some(heard) = self.heard.get_mut(&guest) {
            *heard = Instant::now();
        }
        match Word::read(head) {
            // Said again and again: it is the heartbeat, and the answer is ours.
            Ok(Word::Join(limit)) => {
                self.heard.insert(guest.clone(), Instant::now());
                self.unsettled.join(guest.clone(), limit as usize);
                self.say(guest, Word::Welcome(self.identity)).await;
            }
            Ok(Word::Acked(token, ids)) => {
                for id in ids {
                    self.unsettled.settle(id);
                    if let Some(letter) = self.letters.remove(&id) {
                        let _ = letter.confirm.send(Ok(()));
                    }
                }
                // As durable as the queue itself.
                self.say(guest, Word::Durable(token)).await;
            }
            Ok(Word::Nacked(ids)) => ids.iter().for_each(|id| self.unsettled.give_back(&guest, *id)),
            Ok(Word::Leave(token)) => {
                self.forget(&guest);
                self.say(guest, Word::Known(token)).await;
            }
            // Whoever says anything else does not speak our language.
            _ => self.forget(&guest),
        }
    }

    /// Hears what else is here, then delivers what may be delivered.
    async fn go_on(&mut self) -> Result<()> {
        for _ in 0..GROUP {
            let Some(message) = unconstrained(self.socket.recv()).now_or_never() else { break };
            self.hear(message?).await;
        }
        while let Some(offer) = self.unsettled.offer() {
            let body = self.letters.get(&offer.id).map(|letter| letter.body.clone()).unwrap_or_default();
            self.say(offer.guest, Word::Message(offer.id, offer.attempt, body)).await;
        }
        Ok(())
    }

    /// Accepts a word for a guest; ROUTER knows when its connection is gone.
    async fn say(&mut self, guest: Bytes, word: Word) {
        let mut message = ZmqMessage::from(guest.clone());
        message.push_back(self.answers.count(word.head()));
        if let Word::Message(_, _, body) = word {
            message.push_back(body);
        }
        if self.socket.send(message).await.is_err() {
            self.forget(&guest);
        }
    }

    fn give_up_the_silent(&mut self) {
        let now = Instant::now();
        let silent = |heard: &Instant| *heard + self.lease < now;
        let silent: Vec<Bytes> =
            self.heard.iter().filter(|(_, heard)| silent(heard)).map(|(guest, _)| guest.clone()).collect();
        silent.iter().for_each(|guest| self.forget(guest));
    }

    fn forget(&mut self, guest: &Bytes) {
        self.heard.remove(guest);
        self.unsettled.leave(guest);
    }
}
