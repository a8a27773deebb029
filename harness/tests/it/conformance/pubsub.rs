//! Publish/subscribe: what every stream owes, and filters, copies, and when one has joined.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use labs::lab::{Join, Place};
use labs::pubsub::{Event, PubSub, Publisher, Subscriber};
use labs::topic::{Filter, FilterKind, Topic};

use super::deaf;
use super::hostile::{self, Listener};
use super::place::Site;
use super::stream::{self, END, Rx, Stream, Tx, each_once, message, number, take};
use super::{Promise, foreign, promises, survival};

pub(super) const PROBE: &[u8] = b"probe";
pub(super) const TOPIC: &str = "it.stream";

const TOPICS: [&str; 18] = [
    "chat",
    "chat.rust",
    "chat.rust.help",
    "chat.go",
    "chatter",
    "chat-rust",
    "Chat.rust",
    "a",
    "b",
    "ab",
    "a.b",
    "a.b.c",
    "a.c",
    "a.x.b",
    "a_b",
    "weather.eu.de.berlin",
    "weather.us",
    "help",
];

/// Each matches at least one of the topics.
const FILTERS: [&str; 54] = [
    "all",
    "exact:chat",
    "exact:chat.rust",
    "exact:a.b.c",
    "prefix:",
    "prefix:chat",
    "prefix:chat.",
    "prefix:chat.r",
    "prefix:a",
    "prefix:weather.eu.de.berlin",
    "glob:*",
    "glob:chat.*",
    "glob:chat*",
    "glob:*rust*",
    "glob:ch?t",
    "glob:ch[a-c]t",
    "glob:ch[^b]t",
    "glob:ch[c-a]t",
    "glob:[ab]",
    "glob:a?b",
    "glob:*.*.*",
    "glob:\\chat",
    "glob:chat\\.rust",
    "glob:**t",
    "glob:[^a-z]hat.rust",
    "words:chat",
    "words:chat.*",
    "words:chat.#",
    "words:#",
    "words:*",
    "words:*.*",
    "words:#.help",
    "words:#.rust.#",
    "words:a.#.b",
    "words:a.*.#",
    "words:*.rust.*",
    "words:weather.#.berlin",
    "subjects:chat",
    "subjects:chat.*",
    "subjects:chat.>",
    "subjects:>",
    "subjects:*",
    "subjects:*.*",
    "subjects:a.*.b",
    "subjects:*.rust.>",
    "levels:#",
    "levels:+",
    "levels:chat",
    "levels:chat/+",
    "levels:chat/#",
    "levels:+/rust/#",
    "levels:+/+",
    "levels:weather/+/de/#",
    "levels:a/+/b",
];

pub(super) fn promises<L: PubSub>() -> Vec<Promise> {
    let mut promises = stream::promises::<Channel<L>>("");
    promises.extend(survival::promises::<Channel<L>>(""));
    promises.extend(subscribing::<L>(""));
    promises.extend(foreign::pub_sub::<L>());
    if hostile::listens::<L>() {
        const LISTENER: Listener = Listener { foreign: b"", socket: b"SUB" };
        promises.push(Promise::of::<L, _>("hostile", |site| hostile::stream::<Channel<L>>(site, LISTENER)));
        promises.extend(deaf::pub_sub::<L>());
    }
    promises
}

/// What is particular to subscribing, whatever else the lab promises.
pub(super) fn subscribing<L: PubSub>(prefix: &str) -> Vec<Promise> {
    let mut promises = promises![L: filters, refuses, copies, late, joined];
    if L::PUBLISHERS.is_none() {
        promises.extend(promises![L: publishers]);
    }
    promises.iter_mut().for_each(|promise| promise.name.insert_str(0, prefix));
    promises
}

pub(super) struct Channel<L>(PhantomData<L>);

impl<L: PubSub> Stream for Channel<L> {
    type Lab = L;
    type Tx = Out<L::Publisher>;
    type Rx = In<L::Subscriber>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        let lab = L::open(place).await?;
        let (publisher, subscriber) = tokio::try_join!(lab.publisher(), lab.subscriber(&Filter::All))?;
        let (mut tx, mut rx) = (Out::new(publisher)?, In(subscriber));
        probe::<L>(&mut tx.publisher, &mut [(&mut rx.0, Topic::new(TOPIC)?)]).await?;
        Ok((tx, rx))
    }
}

/// Where joining is not confirmed: publishes to each until all have heard of it.
pub(super) async fn probe<L: PubSub>(
    publisher: &mut L::Publisher,
    subscribers: &mut [(&mut L::Subscriber, Topic)],
) -> Result<()> {
    if L::JOIN == Join::Confirmed {
        return Ok(());
    }
    let topics: Vec<Topic> = subscribers.iter().map(|(_, topic)| topic.clone()).collect();
    let heard = try_join_all(subscribers.iter_mut().map(async |(subscriber, _)| {
        let event = subscriber.next().await?.context("the publisher has left")?;
        ensure!(event.body == PROBE, "something came before it was published");
        Ok(())
    }));
    let probes = async {
        loop {
            for topic in &topics {
                publisher.publish(topic, Bytes::from_static(PROBE)).await?;
            }
            publisher.flush().await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        biased;
        heard = heard => heard.map(drop),
        ended = probes => ended,
    }
}

/// The next event that is not a probe.
pub(super) async fn hear(subscriber: &mut impl Subscriber) -> Result<Event> {
    loop {
        let event = subscriber.next().await?.context("the subscriber says that nothing can come any more")?;
        if event.body != PROBE {
            return Ok(event);
        }
    }
}

/// All that is heard until the end.
pub(super) async fn hear_all(subscriber: impl Subscriber) -> Result<Vec<u64>> {
    stream::take_all(&mut In(subscriber)).await
}

pub(super) struct Out<P> {
    publisher: P,
    topic: Topic,
}

impl<P> Out<P> {
    pub(super) fn new(publisher: P) -> Result<Self> {
        Ok(Self { publisher, topic: Topic::new(TOPIC)? })
    }
}

impl<P: Publisher> Tx for Out<P> {
    async fn put(&mut self, bodies: Vec<Bytes>) -> Result<()> {
        for body in bodies {
            self.publisher.publish(&self.topic, body).await?;
        }
        Ok(())
    }
    async fn flush(&mut self) -> Result<()> {
        self.publisher.flush().await
    }
    async fn close(self) -> Result<()> {
        self.publisher.close().await
    }
}

pub(super) struct In<S>(S);

impl<S: Subscriber> Rx for In<S> {
    async fn get(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.0.next().await? {
                Some(event) if event.body == PROBE => {}
                event => return Ok(event.map(|event| event.body)),
            }
        }
    }
}

pub(super) fn topics() -> Result<Vec<Topic>> {
    TOPICS.iter().map(|topic| Topic::new(topic)).collect()
}

pub(super) fn filters_of(wanted: impl Fn(FilterKind) -> bool) -> Result<Vec<Filter>> {
    let filters: Result<Vec<Filter>> = FILTERS.iter().map(|text| text.parse()).collect();
    Ok(filters?.into_iter().filter(|filter| wanted(filter.kind())).collect())
}

/// Every filter the lab knows hears what [`Filter::matches`] says, and nothing else.
async fn filters<L: PubSub>(site: Site) -> Result<()> {
    let (lab, topics) = (L::open(&site.place()).await?, topics()?);
    let filters = filters_of(|kind| L::FILTERS.contains(&kind))?;
    let hits: Result<Vec<Topic>> = filters
        .iter()
        .map(|filter| topics.iter().find(|topic| filter.matches(topic)).cloned().context("no topic for it"))
        .collect();
    let hits = hits?;
    let joining = try_join_all(filters.iter().map(|filter| lab.subscriber(filter)));
    let (mut publisher, mut subscribers) = tokio::try_join!(lab.publisher(), joining)?;
    let mut pairs: Vec<_> = subscribers.iter_mut().zip(hits.iter().cloned()).collect();
    site.soon("everyone hears a probe", probe::<L>(&mut publisher, &mut pairs)).await?;
    let publishing = async {
        for topic in &topics {
            publisher.publish(topic, Bytes::copy_from_slice(topic.as_str().as_bytes())).await?;
        }
        // To each a last one, which comes through its filter, as others may.
        for (at, hit) in hits.iter().enumerate() {
            publisher.publish(hit, message(at as u64, 32)).await?;
        }
        publisher.flush().await
    };
    let hearing = try_join_all(subscribers.iter_mut().zip(0..).map(async |(subscriber, at): (_, u64)| {
        let mut heard = Vec::new();
        loop {
            let event = hear(subscriber).await?;
            match event.body == event.topic.as_str() {
                true => heard.push(event.topic),
                false if number(&event.body)? == at => return anyhow::Ok(heard),
                false => {}
            }
        }
    }));
    let both = async { tokio::try_join!(publishing, hearing) };
    let ((), heard) = site.soon("everyone hears its last event", both).await?;
    for (filter, heard) in filters.iter().zip(heard) {
        let wanted: BTreeSet<&Topic> = topics.iter().filter(|topic| filter.matches(topic)).collect();
        if let Some(topic) = heard.iter().find(|topic| !wanted.contains(topic)) {
            bail!("`{filter}` heard {topic}, which it does not match");
        }
        if let Some(topic) = wanted.into_iter().find(|topic| !heard.contains(topic)) {
            bail!("`{filter}` did not hear {topic}");
        }
    }
    Ok(())
}

/// A filter the lab does not know is refused, by name.
async fn refuses<L: PubSub>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let _publisher = lab.publisher().await?;
    refused::<L, _>(&site, async |filter| lab.subscriber(filter).await.map(drop)).await
}

/// `subscribe` refuses every kind of filter that the lab does not know.
pub(super) async fn refused<L: PubSub, F>(site: &Site, subscribe: F) -> Result<()>
where
    F: AsyncFn(&Filter) -> Result<()>,
{
    for filter in filters_of(|kind| !L::FILTERS.contains(&kind))? {
        let refused = async { Ok(subscribe(&filter).await) };
        let Err(error) = site.soon("the filter is refused", refused).await? else {
            bail!("`{filter}` was accepted, though {} does not know its kind", L::TRANSPORT);
        };
        let (text, kind) = (format!("{error:#}"), filter.kind().to_string());
        ensure!(text.contains(L::TRANSPORT), "the refusal does not name the transport: {text}");
        ensure!(text.contains(&kind), "the refusal does not name the filter's kind, {kind}: {text}");
    }
    Ok(())
}

/// Every subscriber gets its own copy of everything.
async fn copies<L: PubSub>(site: Site) -> Result<()> {
    let (lab, topic) = (L::open(&site.place()).await?, Topic::new(TOPIC)?);
    let joining = try_join_all((0..3).map(|_| lab.subscriber(&Filter::All)));
    let (mut publisher, mut subscribers) = tokio::try_join!(lab.publisher(), joining)?;
    let mut pairs: Vec<_> = subscribers.iter_mut().map(|each| (each, topic.clone())).collect();
    site.soon("everyone hears a probe", probe::<L>(&mut publisher, &mut pairs)).await?;
    let publishing = async {
        for number in (0..1000).chain([END]) {
            publisher.publish(&topic, message(number, 64)).await?;
        }
        publisher.flush().await
    };
    let hearing = join_all(subscribers.into_iter().map(async |subscriber| {
        let heard = site.soon("the last event comes", stream::take_all(&mut In(subscriber))).await?;
        each_once(&heard, 0..1000)
    }));
    let publishing = site.soon("all is published", publishing);
    let (published, heard) = tokio::join!(publishing, hearing);
    for (at, heard) in heard.into_iter().enumerate() {
        heard.with_context(|| format!("subscriber {at} of 3"))?;
    }
    published
}

/// Who comes late has missed what was published before.
async fn late<L: PubSub>(site: Site) -> Result<()> {
    let (lab, topic) = (L::open(&site.place()).await?, Topic::new(TOPIC)?);
    let mut publisher = lab.publisher().await?;
    for number in 0..100 {
        publisher.publish(&topic, message(number, 64)).await?;
    }
    publisher.flush().await?;
    let mut subscriber = lab.subscriber(&Filter::All).await?;
    let probing = probe::<L>(&mut publisher, &mut [(&mut subscriber, topic.clone())]).await;
    probing.context("what was published before it joined")?;
    publisher.publish(&topic, message(END, 64)).await?;
    publisher.flush().await?;
    let heard = site.soon("the last event comes", stream::take_all(&mut In(subscriber))).await?;
    ensure!(heard.is_empty(), "{} events from before it joined came", heard.len());
    Ok(())
}

/// Joined is joined: the first event after it is heard, time and again.
async fn joined<L: PubSub>(site: Site) -> Result<()> {
    let (lab, topic) = (L::open(&site.place()).await?, Topic::new(TOPIC)?);
    let mut publisher = lab.publisher().await?;
    for number in 0..20 {
        let mut subscriber = lab.subscriber(&Filter::Prefix(TOPIC.to_owned())).await;
        if subscriber.is_err() {
            subscriber = lab.subscriber(&Filter::Exact(topic.clone())).await;
        }
        let mut subscriber = subscriber?;
        let probing = async { probe::<L>(&mut publisher, &mut [(&mut subscriber, topic.clone())]).await };
        site.soon("a probe is heard", probing).await?;
        publisher.publish(&topic, message(number, 64)).await?;
        publisher.flush().await?;
        let heard = site.soon("the first event after joining is heard", take(&mut In(subscriber))).await?;
        ensure!(heard == number, "event {heard} was heard where {number} was due");
    }
    Ok(())
}

/// Several publishers are heard, each in its order.
async fn publishers<L: PubSub>(site: Site) -> Result<()> {
    const EACH: u64 = 300;
    let (lab, topic) = (L::open(&site.place()).await?, Topic::new(TOPIC)?);
    let subscriber = lab.subscriber(&Filter::All).await?;
    let mut publishers = try_join_all((0..3).map(|_| lab.publisher())).await?;
    let publishing =
        try_join_all(publishers.drain(..).zip(0..).map(async |(mut publisher, who): (_, u64)| {
            for number in 0..EACH {
                publisher.publish(&topic, message(who * EACH + number, 64)).await?;
                tokio::task::yield_now().await;
            }
            publisher.close().await
        }));
    let mut rx = In(subscriber);
    let hearing = async {
        let (mut heard, mut last) = (Vec::new(), [None; 3]);
        while (heard.len() as u64) < 3 * EACH {
            let number = take(&mut rx).await?;
            let last = &mut last[(number / EACH) as usize % 3];
            ensure!(*last < Some(number), "event {number} came after {last:?} of the same publisher");
            *last = Some(number);
            heard.push(number);
        }
        anyhow::Ok(heard)
    };
    let both = async { tokio::try_join!(publishing, hearing) };
    let (_, heard) = site.soon("all of every publisher comes", both).await?;
    each_once(&heard, 0..3 * EACH)
}
