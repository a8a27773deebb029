//! What the NATS labs share: a connection that is lost for good when it is
//! lost, publishing, and subscriptions that say when they are live.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions, Message, Request, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::unconstrained;

use crate::lab::{Knob, Place};
use crate::pubsub::Event;
use crate::topic::{Filter, FilterKind, Topic, TopicReader};

/// The crate's default, 65,536, is less than it reads in one go from a full socket.
pub(crate) const HIGH_WATER: Knob = Knob::new(
    "high-water",
    262_144,
    "Messages that wait in a subscription before the client drops new ones.",
);
/// Commands between a role and the client's own task, which writes them.
const COMMANDS: usize = 4096;

/// Messages that a listener has sent to itself, to know that it is live.
const OUR_OWN: u64 = 1;

/// A connection. Left to itself the client would come back after a cut and
/// never tell what it has missed: here a cut is final, and an error.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) client: Client,
    cut: watch::Receiver<bool>,
}

impl Line {
    pub(crate) async fn to(place: &Place) -> Result<Self> {
        let url = place.url()?;
        let (cutting, cut) = watch::channel(false);
        let connected = AtomicBool::new(false);
        let options = ConnectOptions::new()
            .name(place.role())
            .subscription_capacity(place.knob(HIGH_WATER).max(1))
            .client_capacity(COMMANDS)
            // Who does not want to wait for ever has a timeout of its own.
            .request_timeout(None)
            // Places and topics are made of what subjects are made of.
            .skip_subject_validation(true)
            // Asked before every attempt to connect. The first is made at once,
            // the second never. Events would tell of a cut too, but are
            // themselves dropped when there are many.
            .reconnect_delay_callback(move |_| match connected.swap(true, Ordering::Relaxed) {
                false => Duration::ZERO,
                true => {
                    cutting.send_replace(true);
                    Duration::MAX
                }
            });
        let client =
            options.connect(url).await.with_context(|| format!("cannot connect to NATS at {url}"))?;
        Ok(Self { client, cut })
    }

    /// What `action` comes to, unless the connection is lost before.
    pub(crate) async fn unless_cut<T, E>(&self, action: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut cut = self.cut.clone();
        tokio::select! {
            biased;
            done = action => done.context("NATS did not do it"),
            _ = cut.wait_for(|cut| *cut) => lost(),
        }
    }

    /// Accepts a message; the client's task writes it when this one yields.
    pub(crate) async fn publish(&self, subject: Subject, body: Bytes) -> Result<()> {
        // Not to be put off because this task has used up its turn: the more
        // commands wait, the more are written at once.
        unconstrained(self.unless_cut(self.client.publish(subject, body))).await
    }

    /// Everything accepted is written to the socket. NATS may not have read it.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.unless_cut(self.client.flush()).await
    }

    /// Returns when NATS has handled everything written before: it handles a
    /// connection's commands in order, and the last is a message to ourselves.
    pub(crate) async fn round_trip(&self) -> Result<()> {
        let ourselves = self.client.new_inbox();
        let request = Request::new().inbox(ourselves.clone());
        self.unless_cut(self.client.send_request(ourselves, request)).await.map(drop)
    }

    /// Subscribes, alone or sharing the messages with a queue group; live when
    /// this returns.
    pub(crate) async fn subscribe(&self, subject: String, group: Option<String>) -> Result<Inbox> {
        let context = format!("cannot subscribe to {subject}");
        let messages = match group {
            Some(group) => self.client.queue_subscribe(subject, group).await,
            None => self.client.subscribe(subject).await,
        };
        let messages = messages.context(context)?;
        self.round_trip().await?;
        Ok(Inbox { line: self.clone(), messages })
    }
}

/// What arrives for one subscription. The client reads on whether anybody takes
/// messages or not: beyond the high-water mark it drops the newest.
pub(crate) struct Inbox {
    pub(crate) line: Line,
    pub(crate) messages: Subscriber,
}

impl Inbox {
    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        tokio::select! {
            biased;
            message = self.messages.next() => message.context("NATS has ended the subscription"),
            _ = self.line.cut.wait_for(|cut| *cut) => lost(),
        }
    }
}

/// An inbox of a connection that has no other: it knows what was dropped.
pub(crate) struct Listener {
    pub(crate) inbox: Inbox,
    who: String,
    taken: u64,
}

impl Listener {
    /// Subscribes over a connection of its own; live when this returns.
    pub(crate) async fn to(place: &Place, subject: String, group: Option<&str>) -> Result<Self> {
        let line = Line::to(place).await?;
        let inbox = line.subscribe(subject, group.map(str::to_owned)).await?;
        Ok(Self::of(place, inbox.line, inbox.messages))
    }

    /// Listens to the only subscription of a connection.
    pub(crate) fn of(place: &Place, line: Line, messages: Subscriber) -> Self {
        let who = format!("{} of {}", place.role(), place.name());
        Self { inbox: Inbox { line, messages }, who, taken: 0 }
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        let message = self.inbox.next().await?;
        self.taken += 1;
        Ok(message)
    }
}

/// Every drop is an event of the client too, but its events are dropped when
/// there are many: what arrived and is nowhere to be found was dropped.
impl Drop for Listener {
    fn drop(&mut self) {
        let arrived = self.inbox.line.client.statistics().in_messages.load(Ordering::Relaxed);
        let mut accounted_for = OUR_OWN + self.taken;
        while let Some(Some(_)) = unconstrained(self.inbox.messages.next()).now_or_never() {
            accounted_for += 1;
        }
        let dropped = arrived.saturating_sub(accounted_for);
        if dropped > 0 {
            eprintln!("{}: {dropped} messages were dropped, for want of room", self.who);
        }
    }
}

fn lost<T>() -> Result<T> {
    bail!("NATS has closed the connection: this end fell too far behind, or NATS stopped")
}

/// Publishes what has a topic, below a place's name.
pub(crate) struct Subjects {
    place: String,
    latest: Option<(Topic, Subject)>,
}

impl Subjects {
    pub(crate) fn of(place: &Place) -> Self {
        Self { place: place.name(), latest: None }
    }

    /// The subject of a topic; one that repeats costs no allocation.
    pub(crate) fn subject(&mut self, topic: &Topic) -> Subject {
        match &self.latest {
            Some((latest, subject)) if latest == topic => subject.clone(),
            _ => {
                let subject = Subject::from(format!("{}.{topic}", self.place));
                self.latest.insert((topic.clone(), subject)).1.clone()
            }
        }
    }
}

/// Makes events of messages.
pub(crate) struct Events {
    topic_starts: usize,
    topics: TopicReader,
}

impl Events {
    pub(crate) fn of(place: &Place) -> Self {
        Self { topic_starts: place.name().len() + 1, topics: TopicReader::default() }
    }

    pub(crate) fn read(&mut self, message: Message) -> Result<Event> {
        let topic = message.subject.as_str().get(self.topic_starts..);
        let topic = topic.context("a message under another place's subject")?;
        Ok(Event { topic: self.topics.read(topic.as_bytes())?, body: message.payload })
    }
}

/// What a subject with wildcards can express.
pub(crate) const FILTERS: &[FilterKind] = &[FilterKind::All, FilterKind::Exact, FilterKind::Subjects];

/// The subject that a filter names, below a place's name.
pub(crate) fn filtered(place: &Place, filter: &Filter) -> String {
    match filter {
        Filter::Exact(topic) => format!("{}.{topic}", place.name()),
        Filter::Subjects(pattern) => format!("{}.{pattern}", place.name()),
        _ => format!("{}.>", place.name()),
    }
}
