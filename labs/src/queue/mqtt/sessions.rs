//! The sessions of a queue over MQTT: which consumer holds which, and what happens to the messages
//! in a session that no consumer holds.
//!
//! A shared subscription puts each message into one session, whether its consumer is there or
//! not: the broker gives it to no other session, and drops it with the session. So for every
//! session there is a retained message, `held` or `free`, at `PLACE/sessions/ID`. The will of
//! whoever holds a session is that it be free. A consumer that sees a free session takes it over:
//! it connects under that session's name, ends its part in the shared subscription, publishes
//! again what waits in it, and ends the session.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Error, Result};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::dead;
use super::layout::{
    FREE, HELD, attempt, connect, entry, id_of, list, publication, session, shared_filter, skip,
};
use crate::lab::Place;
use crate::queue::{AttemptLimit, UNSETTLED};
use crate::recovery::disconnected;
use crate::wire::mqtt::{ConnectSettings, MqttConnection, Publication, QoS, end_session, topic};

/// The session that holds messages until the first consumer is there.
const STORE: &str = "store";
/// Messages on their way from one session to others.
const MOVING: u16 = 512;
/// How long a consumer leaves a free session to each consumer before it in the list.
const TURN: Duration = Duration::from_millis(200);
/// Several roles may create the store at once; all but the last are cut off, and try again.
const TRIES: usize = 10;

/// Makes sure that there is a session to hold what is published.
pub(in crate::queue) async fn create_store(place: &Place, qos: QoS) -> Result<()> {
    let mut tries = 0;
    while listed(place).await?.is_empty() {
        tries += 1;
        let store = ConnectSettings {
            session: Some(session(place, STORE)),
            receive_maximum: Some(1),
            ..ConnectSettings::default()
        };
        let created = async {
            let connection = MqttConnection::connect_with(place, store).await?;
            // Listed before it can hold anything: no message may be in a session that is not listed.
            list(place, &connection.client, STORE, FREE).await?;
            connection.client.subscribe(&shared_filter(place), qos).await?;
            connection.disconnect().await
        };
        match created.await {
            Err(error) if tries >= TRIES => {
                return Err(error.context("cannot create a session for the queue"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Ends every session, with what is in it.
pub(in crate::queue) async fn remove(place: &Place) -> Result<()> {
    loop {
        let listed = listed(place).await?;
        if listed.is_empty() {
            return dead::clear_all(place).await;
        }
        let connection = MqttConnection::connect(place).await?;
        for id in listed {
            // A consumer that still held it is cut off, and its will is published before this returns.
            end_session(place, &session(place, &id)).await?;
            list(place, &connection.client, &id, b"").await?;
        }
        connection.disconnect().await?;
    }
}

/// A name for a session that no other has.
pub(super) fn new_id() -> String {
    // A new hasher has a random key.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Sessions of this process whose consumers were dropped without closing, as after a lost connection.
#[derive(Default)]
struct Abandoned(Mutex<Vec<String>>);

impl Abandoned {
    fn list(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that nobody holds this session any more.
pub(super) fn abandon(place: &Place, id: String) {
    place.registered(Abandoned::default).list().push(id);
}

/// Takes over the sessions that other consumers leave, for one consumer.
pub(super) struct Takeover {
    place: Place,
    own_id: String,
    qos: QoS,
    connection: MqttConnection,
    /// Every session that is listed, and whether a consumer holds it.
    listed: BTreeMap<String, bool>,
}

impl Takeover {
    /// Lists the consumer's own session as held, and learns which others there are.
    pub(super) async fn join(place: &Place, own_id: &str, qos: QoS) -> Result<Self> {
        let connection = MqttConnection::connect(place).await?;
        connection.client.subscribe(&entry(place, "+"), QoS::AtMostOnce).await?;
        list(place, &connection.client, own_id, HELD).await?;
        let (place, own_id, listed) = (place.clone(), own_id.to_owned(), BTreeMap::new());
        let mut takeover = Self { place, own_id, qos, connection, listed };
        // Our own entry comes after all that were there before.
        while !takeover.listed.contains_key(&takeover.own_id) {
            takeover.next_change().await?;
        }
        Ok(takeover)
    }

    /// Lists as free what this process has abandoned: a broker that was restarted has published no
    /// will, and the messages in such a session would wait for ever.
    pub(super) async fn free_abandoned(&mut self) -> Result<()> {
        let abandoned = std::mem::take(&mut *self.place.registered(Abandoned::default).list());
        for id in abandoned {
            // One that was taken over already is not there any more.
            if self.listed.contains_key(&id) {
                list(&self.place, &self.connection.client, &id, FREE).await?;
                self.listed.insert(id, false);
            }
        }
        Ok(())
    }

    /// Goes on in a task of its own.
    pub(super) fn watch(self) -> SessionWatch {
        let (stop, stopped) = oneshot::channel();
        SessionWatch { stop: Some(stop), task: Some(tokio::spawn(self.run(stopped))) }
    }

    async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                changed = self.next_change() => changed?,
            }
            self.take_over_free().await?;
        }
    }

    /// Waits until a session is listed otherwise than before. Cancel-safe.
    async fn next_change(&mut self) -> Result<()> {
        let entry = self.connection.incoming.next().await?;
        let id = id_of(&self.place, &entry)?;
        match &entry.payload[..] {
            b"" => drop(self.listed.remove(&id)),
            state => drop(self.listed.insert(id, state == HELD)),
        }
        Ok(())
    }

    /// Takes over every session that is free, unless another consumer does.
    pub(super) async fn take_over_free(&mut self) -> Result<()> {
        while let Some(free) = self.free() {
            let before = self.listed.iter().filter(|(id, held)| **held && **id < self.own_id).count();
            let others_turn = tokio::time::sleep(TURN * before as u32);
            tokio::pin!(others_turn);
            while before > 0 && self.free().as_ref() == Some(&free) {
                tokio::select! {
                    biased;
                    changed = self.next_change() => changed?,
                    () = &mut others_turn => break,
                }
            }
            if self.free().as_ref() != Some(&free) {
                continue;
            }
            match take_over(&self.place, &free, self.qos).await {
                Ok(()) => drop(self.listed.remove(&free)),
                // Either another consumer was quicker, cut us off and lists the session as held;
                // or something broke, and our own will lists it as free again.
                Err(_) => {
                    self.listed.insert(free, true);
                    let _ = tokio::time::timeout(TURN, self.next_change()).await;
                }
            }
        }
        Ok(())
    }

    fn free(&self) -> Option<String> {
        let mut free = self.listed.iter().filter(|(id, held)| !**held && **id != self.own_id);
        free.next().map(|(id, _)| id.clone())
    }
}

/// The task that takes over sessions; it ends when this is dropped.
pub(super) struct SessionWatch {
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<()>>>,
}

impl SessionWatch {
    /// Returns when the task has ended by itself, with the reason: its connection was lost.
    /// Cancel-safe.
    pub(super) async fn failed(&mut self) -> Error {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Err(error)) => error.context("the session takeover has ended"),
            _ => disconnected("the session takeover has ended"),
        }
    }

    /// Ends the task; a takeover that has begun is finished first.
    pub(super) async fn stop(&mut self) -> Result<()> {
        drop(self.stop.take());
        match self.task.take() {
            Some(task) => task.await.context("the session takeover has panicked")?,
            None => Ok(()),
        }
    }
}

impl Drop for SessionWatch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Publishes again all that waits in a session, and ends it.
async fn take_over(place: &Place, id: &str, qos: QoS) -> Result<()> {
    let (limit, mut old) = (AttemptLimit::of(place), connect(place, id, MOVING).await?);
    list(place, &old.client, id, HELD).await?;
    if old.resumed {
        old.client.unsubscribe(&shared_filter(place)).await?;
        // A marker behind all that waits: the messages of a session keep their order.
        let end = topic(place, &format!("ends/{id}"));
        old.client.subscribe(&end, qos).await?;
        let marker = Publication { topic: end.clone(), qos, ..Publication::default() };
        old.client.publish(marker).await?;
        let (mut moving, mut ended) = (VecDeque::new(), false);
        while !ended || !moving.is_empty() {
            let next = match old.incoming.next().now_or_never() {
                Some(next) => Some(next?),
                None if moving.is_empty() => Some(old.incoming.next().await?),
                None => None,
            };
            let idle = next.is_none();
            if let Some(waited) = next {
                if waited.topic == end {
                    ended = true;
                    old.client.ack(&waited).await?;
                } else if let Some(attempt) = attempt(&waited) {
                    if limit.is_reached(attempt - 1) {
                        // Its consumer has gone at the last attempt.
                        let (body, why) = (waited.payload.clone(), (attempt - 1, UNSETTLED));
                        dead::put_aside(place, &old.client, &new_id(), body, why).await?;
                        old.client.ack(&waited).await?;
                        continue;
                    }
                    let again = publication(place, qos, waited.payload.clone(), attempt);
                    moving.push_back((old.client.publish_to_confirm(again).await?, waited));
                } else {
                    // As a consumer does.
                    skip(place);
                    old.client.ack(&waited).await?;
                }
            }
            // Acknowledged only when it is confirmed anew: a crash in between doubles it.
            if (idle || ended || moving.len() >= usize::from(MOVING) / 2)
                && let Some((confirmation, waited)) = moving.pop_front()
            {
                confirmation.wait().await?;
                old.client.ack(&waited).await?;
            }
        }
        old.client.round_trip().await?;
    }
    // With DISCONNECT, or our own will would list it as free again.
    old.disconnect().await?;
    end_session(place, &session(place, id)).await?;
    let connection = MqttConnection::connect(place).await?;
    list(place, &connection.client, id, b"").await?;
    connection.disconnect().await
}

/// Every session that is listed.
async fn listed(place: &Place) -> Result<Vec<String>> {
    let mut connection = MqttConnection::connect(place).await?;
    let found = connection.retained(&entry(place, "+")).await?;
    connection.disconnect().await?;
    found.iter().map(|entry| id_of(place, entry)).collect()
}
