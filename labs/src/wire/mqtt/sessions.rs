//! The sessions of a queue over MQTT: who holds which, and what becomes of the
//! messages in one that nobody holds.
//!
//! A shared subscription deals each message to one session of the group, present
//! or absent, and there it stays: the broker gives it to no other, and drops it
//! with the session. So an entry is retained for every session, `held` or
//! `free`, at `PLACE/sessions/ID`; the will of whoever holds one is that it be
//! free. A member who sees a free session takes it over (it connects under that
//! name), leaves the group for it, publishes again what waits in it, and ends it.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use rumqttc::v5::mqttbytes::v5::{LastWill, Publish, PublishProperties};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Intake, Link, Message, Outbox, QoS, Who, end_session, shared, topic};
use crate::lab::Place;

/// The session that holds messages until the first consumer has come.
const STORE: &str = "store";
const HELD: &[u8] = b"held";
const FREE: &[u8] = b"free";
/// A user property: what the broker's flag for duplicates cannot say, for a
/// message that was published again begins anew with it.
const ATTEMPT: &str = "attempt";
/// Messages on their way from one session to others.
const MOVING: u16 = 512;
/// How long each member leaves a free session to the one before it in the list.
const TURN: Duration = Duration::from_millis(200);
/// Several may make the store at once; all but the last are cut off.
const TRIES: usize = 10;

/// Makes sure that there is a session to hold what is published.
pub(crate) async fn make_store(place: &Place, qos: QoS) -> Result<()> {
    let mut tries = 0;
    while entries(place).await?.is_empty() {
        tries += 1;
        let store = Who { session: Some(session(place, STORE)), unacked: Some(1), ..Who::default() };
        let made = async {
            let link = Link::of(place, store).await?;
            // Listed before it can hold anything: nothing may be where nobody looks.
            list(place, &link.out, STORE, FREE).await?;
            link.subscribe(&group(place), qos).await?;
            link.close().await
        };
        match made.await {
            Err(error) if tries >= TRIES => return Err(error.context("cannot make a session for the queue")),
            _ => {}
        }
    }
    Ok(())
}

/// Ends every session, with what is in it.
pub(crate) async fn remove(place: &Place) -> Result<()> {
    loop {
        let listed = entries(place).await?;
        if listed.is_empty() {
            return Ok(());
        }
        let link = Link::to(place).await?;
        for id in listed {
            // Whoever still held it is cut off, and its will comes before we go on.
            end_session(place, &session(place, &id)).await?;
            list(place, &link.out, &id, b"").await?;
        }
        link.close().await?;
    }
}

/// Where messages are published.
pub(crate) fn queue(place: &Place) -> String {
    topic(place, "queue")
}

/// A message to be published, at its first attempt or a later one.
pub(crate) fn message(place: &Place, qos: QoS, body: bytes::Bytes, attempt: u32) -> Message {
    let properties = (attempt > 1).then(|| PublishProperties {
        user_properties: vec![(ATTEMPT.to_owned(), attempt.to_string())],
        ..PublishProperties::default()
    });
    Message { topic: queue(place), qos, body, properties, retain: false }
}

/// Which delivery of a message this is, as far as the broker and those who
/// published it again can tell.
pub(crate) fn attempt(message: &Publish) -> u32 {
    let properties = message.properties.iter().flat_map(|properties| &properties.user_properties);
    let said = properties.filter(|(name, _)| name == ATTEMPT).find_map(|(_, number)| number.parse().ok());
    said.unwrap_or(1) + u32::from(message.dup)
}

/// A member of the group, with a session of its own.
pub(crate) struct Member {
    pub(crate) intake: Intake,
    place: Place,
    id: String,
    stop: Option<oneshot::Sender<()>>,
    heir: Option<JoinHandle<Result<()>>>,
}

impl Member {
    /// Joins with at most `unacked` messages unacknowledged, and takes over what is free.
    pub(crate) async fn join(place: &Place, unacked: u16, qos: QoS) -> Result<Self> {
        // A new hasher is keyed at random: no two members are called the same.
        let id = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let link = hold(place, &id, unacked.max(1)).await?;
        let mut heir = Heir::enter(place, &id, qos).await?;
        link.subscribe(&group(place), qos).await?;
        // Only now: what is taken over has somewhere to go.
        heir.inherit().await?;
        let (stop, stopped) = oneshot::channel();
        let heir = Some(tokio::spawn(heir.watch(stopped)));
        Ok(Self { intake: Intake::new(link, unacked), place: place.clone(), id, stop: Some(stop), heir })
    }

    /// Leaves; the session is free, with what is in it.
    pub(crate) async fn leave(mut self) -> Result<()> {
        // What is being taken over is taken over to the end.
        drop(self.stop.take());
        if let Some(heir) = self.heir.take() {
            heir.await.context("the heir has panicked")??;
        }
        let out = self.intake.link.out.clone();
        list(&self.place, &out, &self.id, FREE).await
        // The connection breaks off when this is dropped, which is as good: the
        // will says the same.
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(heir) = &self.heir {
            heir.abort();
        }
    }
}

/// Sees to what others leave behind.
struct Heir {
    place: Place,
    me: String,
    qos: QoS,
    link: Link,
    /// Every session that is listed, and whether somebody holds it.
    listed: BTreeMap<String, bool>,
}

impl Heir {
    async fn enter(place: &Place, me: &str, qos: QoS) -> Result<Self> {
        let link = Link::to(place).await?;
        link.subscribe(&entry(place, "+"), QoS::AtMostOnce).await?;
        list(place, &link.out, me, HELD).await?;
        let mut heir = Self { place: place.clone(), me: me.to_owned(), qos, link, listed: BTreeMap::new() };
        // Our own entry comes after all that were there before.
        while !heir.listed.contains_key(me) {
            heir.hear().await?;
        }
        Ok(heir)
    }

    /// The next news of a session. Cancel-safe.
    async fn hear(&mut self) -> Result<()> {
        let news = self.link.inbox.next().await?;
        let id = id_of(&self.place, &news)?;
        match &news.payload[..] {
            b"" => drop(self.listed.remove(&id)),
            state => drop(self.listed.insert(id, state == HELD)),
        }
        Ok(())
    }

    async fn watch(mut self, mut stop: oneshot::Receiver<()>) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                heard = self.hear() => heard?,
            }
            self.inherit().await?;
        }
    }

    /// Takes over every session that is free, unless another member does.
    async fn inherit(&mut self) -> Result<()> {
        while let Some(free) = self.free() {
            let before = self.listed.iter().filter(|(id, held)| **held && **id < self.me).count();
            let others_turn = tokio::time::sleep(TURN * before as u32);
            tokio::pin!(others_turn);
            while before > 0 && self.free().as_ref() == Some(&free) {
                tokio::select! {
                    biased;
                    heard = self.hear() => heard?,
                    () = &mut others_turn => break,
                }
            }
            if self.free().as_ref() != Some(&free) {
                continue;
            }
            match take_over(&self.place, &free, self.qos).await {
                Ok(()) => drop(self.listed.remove(&free)),
                // Another member was quicker, cut us off and lists it as held; or
                // something broke, and our own will lists it as free again.
                Err(_) => {
                    self.listed.insert(free, true);
                    let _ = tokio::time::timeout(TURN, self.hear()).await;
                }
            }
        }
        Ok(())
    }

    fn free(&self) -> Option<String> {
        let mut free = self.listed.iter().filter(|(id, held)| !**held && **id != self.me);
        free.next().map(|(id, _)| id.clone())
    }
}

/// Publishes again all that waits in a session, and ends it.
async fn take_over(place: &Place, id: &str, qos: QoS) -> Result<()> {
    let mut old = hold(place, id, MOVING).await?;
    list(place, &old.out, id, HELD).await?;
    if old.resumed {
        old.out.unsubscribe(&group(place)).await?;
        // A marker behind all that waits: a session is a queue itself.
        let end = topic(place, &format!("ends/{id}"));
        old.subscribe(&end, qos).await?;
        let marker = Message { topic: end.clone(), qos, ..Message::default() };
        old.out.publish(marker).await?;
        let (mut moving, mut ended) = (VecDeque::new(), false);
        while !ended || !moving.is_empty() {
            let next = match old.inbox.next().now_or_never() {
                Some(next) => Some(next?),
                None if moving.is_empty() => Some(old.inbox.next().await?),
                None => None,
            };
            let idle = next.is_none();
            if let Some(waited) = next {
                if waited.topic == end {
                    ended = true;
                    old.out.ack(&waited).await?;
                } else {
                    let again = message(place, qos, waited.payload.clone(), attempt(&waited));
                    moving.push_back((old.out.publish_to_confirm(again).await?, waited));
                }
            }
            if (idle || ended || moving.len() >= usize::from(MOVING) / 2)
                && let Some((confirmed, waited)) = moving.pop_front()
            {
                confirmed.wait().await?;
                old.out.ack(&waited).await?;
            }
        }
        old.out.barrier().await?;
    }
    // In order, or our own will would have it free again.
    old.close().await?;
    end_session(place, &session(place, id)).await?;
    let link = Link::to(place).await?;
    list(place, &link.out, id, b"").await?;
    link.close().await
}

/// Connects as the holder of a session.
async fn hold(place: &Place, id: &str, unacked: u16) -> Result<Link> {
    let will = LastWill::new(entry(place, id), FREE, QoS::AtLeastOnce, true, None);
    let (session, unacked) = (Some(session(place, id)), Some(unacked));
    Link::of(place, Who { session, unacked, will: Some(will), high_water: None }).await
}

/// Every session that is listed.
async fn entries(place: &Place) -> Result<Vec<String>> {
    let mut link = Link::to(place).await?;
    let found = link.retained(&entry(place, "+")).await?;
    link.close().await?;
    found.iter().map(|entry| id_of(place, entry)).collect()
}

/// Says what a session is; empty: it is not listed any more.
async fn list(place: &Place, out: &Outbox, id: &str, state: &'static [u8]) -> Result<()> {
    let (topic, body) = (entry(place, id), bytes::Bytes::from_static(state));
    let entry = Message { topic, qos: QoS::AtLeastOnce, retain: true, body, properties: None };
    out.publish(entry).await?;
    out.flush().await
}

fn entry(place: &Place, id: &str) -> String {
    topic(place, &format!("sessions/{id}"))
}

fn id_of(place: &Place, entry_of: &Publish) -> Result<String> {
    let id = entry_of.topic.strip_prefix(entry(place, "").as_bytes()).context("news from another place")?;
    Ok(std::str::from_utf8(id).context("a session whose name is not text")?.to_owned())
}

fn session(place: &Place, id: &str) -> String {
    topic(place, id)
}

fn group(place: &Place) -> String {
    shared("consumers", &queue(place))
}
