//! Clients that nobody here has written talk to the labs, over the real wire:
//! what a lab says its messages are is what others read, byte by byte.
//!
//! A client is a script of this folder, called `PATTERN ACTION ADDRESS NAME
//! COUNT`; `common.py` says how messages come and go. Each lab that has one is
//! tried in both directions.

mod client;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use bytes::Bytes;
use labs::catalog::{self, Pattern, Visitor};
use labs::durable::DurablePubSub;
use labs::lab::{Broker, Directory, Join, Lab, Place};
use labs::oneway::{OneWay, Receiver as _, Sender as _};
use labs::pipeline::Pipeline;
use labs::pubsub::{PubSub, Publisher as _, Subscriber as _};
use labs::queue::{Consumer as _, Producer as _, Queue};
use labs::reqrep::RequestReply;
use labs::topic::{Filter, Topic};
use libtest_mimic::Trial;

use crate::conformance::Site;
use crate::needs::{Need, Needs, needs};
use client::{Client, Message};

/// No exchange takes this long, on however slow a machine.
const TOO_LONG: Duration = Duration::from_secs(300);

/// A lab's transport, the script that talks to it, and what the script needs.
const CLIENTS: [(&str, &str, Need); 8] = [
    ("redis", "redis.sh", Need::Program("redis-cli", "redis-tools")),
    ("rabbitmq", "rabbitmq.py", Need::Module("pika")),
    ("zeromq", "zeromq.py", Need::Module("zmq")),
    ("mqtt", "mosquitto.sh", Need::Program("mosquitto_sub", "mosquitto-clients")),
    ("stomp", "stomp_client.py", Need::Module("stomp")),
    ("websocket", "websocket_client.py", Need::Module("websockets")),
    ("nats", "nats_client.py", Need::Module("nats")),
    ("jetstream", "nats_client.py", Need::Module("nats")),
];

/// The labs that are talked to.
const LABS: [&str; 17] = [
    "oneway-redis",
    "pubsub-redis",
    "oneway-rabbitmq",
    "pubsub-rabbitmq",
    "queue-rabbitmq",
    "oneway-zeromq",
    "pubsub-zeromq",
    "oneway-mqtt",
    "pubsub-mqtt",
    "oneway-stomp",
    "pubsub-stomp",
    "queue-stomp",
    "oneway-websocket",
    "pubsub-websocket",
    "oneway-nats",
    "pubsub-nats",
    "queue-jetstream",
];

/// Every trial of this folder.
pub(crate) fn trials() -> Vec<Trial> {
    let mut suite = Suite(Vec::new(), BTreeSet::new());
    catalog::visit(&mut suite);
    let unknown: Vec<&str> = LABS.into_iter().filter(|lab| !suite.1.contains(*lab)).collect();
    suite.0.push(crate::trial("interop::every_lab_named_here_is_in_the_catalog", move || {
        ensure!(unknown.is_empty(), "no such labs: {unknown:?}");
        Ok(())
    }));
    suite.0
}

/// Runs a script of this folder in Python, which other tests need, too.
pub(crate) fn script(name: &str) -> std::process::Command {
    client::script(name)
}

struct Suite(Vec<Trial>, BTreeSet<String>);

impl Suite {
    /// Both directions of a lab, if there is a client for it.
    fn add<L: Lab>(&mut self, pattern: Pattern, [inward, outward]: [Exchange; 2]) {
        let lab = catalog::name::<L>(pattern);
        let script = CLIENTS.iter().find(|(transport, ..)| *transport == L::TRANSPORT);
        let (Some((_, script, client)), true) = (script, LABS.contains(&&*lab)) else { return };
        for (direction, exchange) in [("hears_others", inward), ("is_heard_by_others", outward)] {
            let name = format!("interop::{lab}::{direction}");
            let lab = lab.clone();
            let all = L::BROKER.map_or_else(Needs::default, |broker| Need::FullBroker(broker).into());
            self.0.push(needs(all.and(*client), &name, move || {
                let site = Site::new(&format!("{lab}-{direction}"), L::BROKER)?;
                let scene = Scene::new(&site, script, pattern, L::BROKER)?;
                block_on(async {
                    tokio::time::timeout(TOO_LONG, exchange(scene)).await.context("it takes too long")?
                })
            }));
        }
        self.1.insert(lab);
    }
}

type Exchange = fn(Scene) -> futures_util::future::LocalBoxFuture<'static, Result<()>>;

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

impl Visitor for Suite {
    fn one_way<L: OneWay>(&mut self) {
        self.add::<L>(
            Pattern::OneWay,
            [|scene| Box::pin(receive::<L>(scene)), |scene| Box::pin(send::<L>(scene))],
        );
    }
    fn pub_sub<L: PubSub>(&mut self) {
        self.add::<L>(
            Pattern::PubSub,
            [|scene| Box::pin(subscribe::<L>(scene)), |scene| Box::pin(publish::<L>(scene))],
        );
    }
    fn queue<L: Queue>(&mut self) {
        self.add::<L>(
            Pattern::Queue,
            [|scene| Box::pin(consume::<L>(scene)), |scene| Box::pin(produce::<L>(scene))],
        );
    }
    fn request_reply<L: RequestReply>(&mut self) {}
    fn pipeline<L: Pipeline>(&mut self) {}
    fn durable<L: DurablePubSub>(&mut self) {}
}

/// Where a lab and a client meet.
struct Scene {
    place: Place,
    directory: Arc<Directory>,
    url: Option<String>,
    script: &'static str,
    pattern: Pattern,
}

impl Scene {
    fn new(site: &Site, script: &'static str, pattern: Pattern, broker: Option<Broker>) -> Result<Self> {
        let directory = Arc::new(Directory::local(1));
        let place = site.place().with_directory(Arc::clone(&directory));
        let url = broker.map(|_| site.url().map(str::to_owned)).transpose()?;
        Ok(Self { place, directory, url, script, pattern })
    }

    /// Starts the client; peer to peer, where the lab listens if it does.
    async fn client(&self, action: &str, lab_binds: bool) -> Result<Client> {
        let address = match &self.url {
            Some(url) => url.clone(),
            None if lab_binds => self.place.peer().await?,
            None => "-".to_owned(),
        };
        let (count, name) = (messages().len().to_string(), self.place.name());
        Client::start(self.script, &[self.pattern.as_str(), action, &address, &name, &count])
    }

    /// Waits until the client is ready, and tells the lab where, if it binds.
    async fn ready(&self, client: &mut Client) -> Result<()> {
        let line = client.line().await?;
        match line.split_once(' ') {
            Some(("bound", address)) => self.directory.tell("", vec![address.to_owned()]),
            _ => ensure!(line == "ready", "the client is not ready, but says {line:?}"),
        }
        Ok(())
    }
}

/// What is said: text, nothing, every byte there is, lines, and more than a packet.
fn messages() -> Vec<Message> {
    let long: Vec<u8> = (0..20_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let bodies = [&b"plain text"[..], b"", &(0..=255).collect::<Vec<u8>>(), b"two\r\nlines\n", &long, b"\0"]
        .map(Bytes::copy_from_slice);
    let topics = ["alpha", "alpha.one", "beta"].into_iter().cycle();
    topics.zip(bodies).map(|(topic, body)| (topic.to_owned(), body)).collect()
}

fn untitled() -> Vec<Message> {
    messages().into_iter().map(|(_, body)| ("-".to_owned(), body)).collect()
}

/// Compares without printing bodies.
fn same(found: &[Message], expected: &[Message]) -> Result<()> {
    ensure!(found.len() == expected.len(), "{} messages came, not {}", found.len(), expected.len());
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        let start = |body: &Bytes| {
            let start = &body[..body.len().min(24)];
            format!("{} bytes, {}", body.len(), base64::prelude::BASE64_STANDARD.encode(start))
        };
        ensure!(found.0 == expected.0, "message {number} is on {:?}, not {:?}", found.0, expected.0);
        ensure!(found.1 == expected.1, "message {number} is {}, not {}", start(&found.1), start(&expected.1));
    }
    Ok(())
}

async fn receive<L: OneWay>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let mut receiver = lab.receiver().await?;
    let mut client = scene.client("send", true).await?;
    client.give(&untitled()).await?;
    let mut found = Vec::new();
    while found.len() < untitled().len() {
        found.push(("-".to_owned(), receiver.recv().await?.context("the receiver has ended")?));
    }
    same(&found, &untitled())?;
    client.end().await?;
    L::remove(&scene.place).await
}

async fn send<L: OneWay>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let mut client = scene.client("receive", false).await?;
    scene.ready(&mut client).await?;
    let mut sender = lab.sender().await?;
    for (_, body) in untitled() {
        sender.send(body).await?;
    }
    sender.flush().await?;
    same(&client.take(untitled().len()).await?, &untitled())?;
    sender.close().await?;
    client.end().await?;
    L::remove(&scene.place).await
}

async fn subscribe<L: PubSub>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let (mut subscriber, mut client) = if L::BROKER.is_some() {
        (lab.subscriber(&Filter::All).await?, scene.client("publish", false).await?)
    } else {
        let mut client = scene.client("publish", false).await?;
        scene.ready(&mut client).await?;
        (lab.subscriber(&Filter::All).await?, client)
    };
    client.give(&messages()).await?;
    let mut found = Vec::new();
    while found.len() < messages().len() {
        let event = subscriber.next().await?.context("the subscriber has ended")?;
        found.push((event.topic.to_string(), event.body));
    }
    same(&found, &messages())?;
    client.end().await?;
    drop(subscriber);
    L::remove(&scene.place).await
}

async fn publish<L: PubSub>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let mut publisher = lab.publisher().await?;
    let mut client = scene.client("subscribe", true).await?;
    scene.ready(&mut client).await?;
    if L::JOIN == Join::Probed {
        // Nobody says when the subscription stands: the first probe that comes does.
        let probe = Topic::new("probe")?;
        let seen = loop {
            publisher.publish(&probe, Bytes::new()).await?;
            publisher.flush().await?;
            if let Ok(line) = tokio::time::timeout(Duration::from_millis(50), client.line()).await {
                break line?;
            }
        };
        ensure!(seen.starts_with("probe "), "the client says {seen:?}");
    }
    for (topic, body) in messages() {
        publisher.publish(&Topic::new(&topic)?, body).await?;
    }
    publisher.flush().await?;
    let found = client.take(messages().len()).await?;
    same(&found, &messages())?;
    publisher.close().await?;
    client.end().await?;
    L::remove(&scene.place).await
}

async fn consume<L: Queue>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let mut consumer = lab.consumer(10).await?;
    let mut client = scene.client("send", false).await?;
    client.give(&untitled()).await?;
    let mut found = Vec::new();
    while found.len() < untitled().len() {
        let delivery = consumer.next().await?.context("the consumer has ended")?;
        ensure!(delivery.attempt == 1, "attempt {}", delivery.attempt);
        found.push(("-".to_owned(), delivery.item));
        consumer.ack(delivery.receipt).await?;
    }
    consumer.flush().await?;
    same(&found, &untitled())?;
    client.end().await?;
    consumer.close().await?;
    L::remove(&scene.place).await
}

async fn produce<L: Queue>(scene: Scene) -> Result<()> {
    let lab = L::open(&scene.place).await?;
    let producer = lab.producer().await?;
    // Where consumers share something in the broker, the first of them makes it.
    lab.consumer(1).await?.close().await?;
    for (_, body) in untitled() {
        producer.send(body).await?;
    }
    let mut client = scene.client("receive", false).await?;
    same(&client.take(untitled().len()).await?, &untitled())?;
    client.end().await?;
    // What the client has acknowledged does not come again: only what is new does.
    let mut consumer = lab.consumer(1).await?;
    producer.send(Bytes::from_static(b"new")).await?;
    let delivery = consumer.next().await?.context("the consumer has ended")?;
    ensure!(&delivery.item[..] == b"new", "a message comes again that the client had acknowledged");
    consumer.ack(delivery.receipt).await?;
    consumer.close().await?;
    producer.close().await?;
    L::remove(&scene.place).await
}
