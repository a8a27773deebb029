//! The transport's side of an instance: a publisher and subscribers of a
//! publish/subscribe lab, which come back by themselves when they have lost it.
//!
//! Over a broker there is one place, and everybody hears everybody there. Where
//! a lab has one publisher to a place, each instance is the publisher of a place
//! of its own, and subscribes at each other's, and its own: a mesh.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::hub::{BEAT, Hub, Outgoing};
use super::message::Said;
use super::room::{self, Room};
use crate::erased::PubSubLab;
use crate::lab::{Directory, Place};
use crate::pubsub::{Event, Publisher, Subscriber};

/// Messages published before one flush, at most.
const BATCH: usize = 64;
/// How long the transport may take to connect, or to take a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Every instance says something every two seconds, this one too. When nothing
/// is heard for so long, the connection is dead, whatever it says itself.
const SILENCE: Duration = Duration::from_secs(8);
/// What a problem with the other way is called.
const PUBLISHING: &str = "publishing";
/// Before the first attempt to come back, and before later ones.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where an instance publishes, and where it listens.
#[derive(Clone)]
pub struct Route {
    speak: Place,
    listen: Vec<(String, Place)>,
}

impl Route {
    /// All at one place.
    pub fn through(place: &Place) -> Self {
        Self { speak: place.clone(), listen: vec![("listening".to_owned(), place.clone())] }
    }

    /// Each at its own: this one at `own`, which is among `all`.
    pub fn mesh(place: &Place, own: &str, all: &[String]) -> Self {
        let bind = BTreeMap::from([(String::new(), own.to_owned())]);
        let speak = place.clone().with_bind(bind).with_directory(Arc::new(Directory::local(1)));
        let listen = all.iter().map(|peer| {
            let directory = Arc::new(Directory::supervised());
            directory.tell("", vec![peer.clone()]);
            (format!("peer {peer}"), place.clone().with_directory(directory))
        });
        Self { speak, listen: listen.collect() }
    }
}

/// Publishes what the hub sends out and hands it what is heard, until told to stop.
pub async fn run(
    lab: PubSubLab,
    route: Route,
    hub: Arc<Hub>,
    mut out: Receiver<Outgoing>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    for what in route.listen.iter().map(|(name, _)| name.as_str()).chain([PUBLISHING]) {
        hub.problem(what, Some("connecting".to_owned()));
    }
    let speaking = speak(&lab, &route.speak, &hub, &mut out);
    let listening = join_all(route.listen.iter().map(|(name, place)| listen(&lab, name, place, &hub)));
    tokio::select! {
        _ = async { tokio::join!(speaking, listening) } => Ok(()),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

/// Pauses grow while it fails, and are short again once it has worked.
struct Pause(Duration);

impl Pause {
    async fn before_next(&mut self) {
        sleep(self.0).await;
        self.0 = (2 * self.0).min(LONGEST_PAUSE);
    }
}

async fn listen(lab: &PubSubLab, name: &str, place: &Place, hub: &Hub) {
    let mut pause = Pause(FIRST_PAUSE);
    loop {
        if let Err(error) = hear(lab, name, place, hub, &mut pause).await {
            hub.problem(name, Some(format!("{error:#}")));
        }
        pause.before_next().await;
    }
}

async fn hear(lab: &PubSubLab, name: &str, place: &Place, hub: &Hub, pause: &mut Pause) -> Result<()> {
    let joining = async {
        let rooms = lab.subscriber(place, &room::every_room(lab.filters)?).await?;
        let people = lab.subscriber(place, &room::everybody(lab.filters)?).await?;
        anyhow::Ok((rooms, people))
    };
    let (mut rooms, mut people) = timeout(PATIENCE, joining).await.context("cannot subscribe in time")??;
    loop {
        let event = tokio::select! {
            event = rooms.next() => event?,
            presence = timeout(SILENCE, people.next()) => match presence {
                Ok(presence) => presence?,
                Err(_) => bail!("nothing was heard for {} s", SILENCE.as_secs()),
            },
        };
        let Event { topic, body } = event.context("the publisher has gone")?;
        pause.0 = FIRST_PAUSE;
        hub.problem(name, None);
        if room::is_here(&topic) {
            if !hub.heard_presence(&body) {
                place.message_skipped(format_args!("on {topic}: that is nothing that an instance says"));
            }
        } else if let (Some(room), Some(said)) = (Room::of(&topic), Said::read(&body)) {
            hub.heard(room, said);
        } else {
            place.message_skipped(format_args!("on {topic}: that is not a message of a room"));
        }
    }
}

async fn speak(lab: &PubSubLab, place: &Place, hub: &Hub, out: &mut Receiver<Outgoing>) {
    let mut pause = Pause(FIRST_PAUSE);
    // What could not be published is kept for the next attempt.
    let mut batch = VecDeque::with_capacity(BATCH);
    loop {
        if let Err(error) = say(lab, place, hub, out, &mut batch, &mut pause).await {
            hub.problem(PUBLISHING, Some(format!("{error:#}")));
        }
        pause.before_next().await;
    }
}

async fn say(
    lab: &PubSubLab,
    place: &Place,
    hub: &Hub,
    out: &mut Receiver<Outgoing>,
    batch: &mut VecDeque<Outgoing>,
    pause: &mut Pause,
) -> Result<()> {
    let mut publisher = timeout(PATIENCE, lab.publisher(place)).await.context("cannot connect in time")??;
    let here = room::here(hub.instance())?;
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !batch.is_empty() {
            let publishing = async {
                for one in &mut *batch {
                    one.said.way.published_us = Some(hub.now());
                    publisher.publish(&one.room.topic()?, one.said.body()).await?;
                }
                publisher.flush().await
            };
            timeout(PATIENCE, publishing).await.context("does not take what is published")??;
            for one in batch.drain(..) {
                hub.published(&one.said.id);
            }
        }
        tokio::select! {
            Some(first) = out.recv() => {
                batch.push_back(first);
                while batch.len() < BATCH && let Ok(more) = out.try_recv() {
                    batch.push_back(more);
                }
                continue;
            }
            _ = beat.tick() => {}
            () = hub.news_of_people() => {}
        }
        let beating = async {
            publisher.publish(&here, hub.presence()).await?;
            publisher.flush().await
        };
        timeout(PATIENCE, beating).await.context("does not take what is published")??;
        pause.0 = FIRST_PAUSE;
        hub.problem(PUBLISHING, None);
    }
}
