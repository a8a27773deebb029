//! Labs that are broken in one way each, around real ones: what scenarios have to notice. Their roles
//! are processes of this program.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use harness::roles::protocol::{Init, RoleCommand, ToRole};
use harness::roles::{Handle, Handles, Outbox};
use labs::catalog::Visitor as _;
use labs::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery, Registry};
use labs::message::Event;
use labs::pubsub::{PubSub, Publisher, Subscriber};
use labs::queue::{Consumer, Delivery, Producer, Queue};
use labs::reqrep::{Command, Document, Matching, RequestReply, Requester};
use labs::topic::{Filter, FilterKind, Topic};
use tokio::sync::mpsc;

macro_rules! faults {
    ($($name:ident = $number:literal, $text:literal: $doc:literal;)+) => {
        $(#[doc = $doc] pub(super) const $name: u8 = $number;)+
        const fn word(fault: u8) -> &'static str {
            match fault {
                $($number => $text,)+
                _ => "whole",
            }
        }
    };
}

faults! {
    ACKS_EARLY = 0, "acks-early": "A consumer acknowledges what it is only about to do.";
    NEVER_AGAIN = 1, "never-again": "What nobody has finished is not delivered again.";
    UNMARKED = 2, "unmarked": "A second delivery looks like a first one.";
    LOSES = 3, "loses": "Every third message is confirmed and thrown away.";
    CONFIRMS_EARLY = 4, "confirms-early": "A message is confirmed before it is sent, and sent once.";
    GREEDY = 5, "greedy": "A consumer takes as many as it can get, whatever it was told.";
    SWAPS = 6, "swaps": "Every second message overtakes the one before.";
    ONE_LOCK = 7, "one-lock": "One consumer works at a time, of all queues.";
    MISSES_FIRST = 8, "misses-first": "A subscription is said to be in effect before it is.";
    ENDS_AT_FOREIGN = 9, "ends-at-foreign": "A role ends at what it cannot read.";
    SHARED_ID = 10, "shared-id": "All requests have the same correlation identifier.";
    NEVER_DEAD = 12, "never-dead": "A message that always fails comes again for ever.";
    FORGETS = 11, "forgets-subscription": "A subscriber that connects again does not subscribe again.";
}

/// The lab `L` with one fault.
pub(super) struct Broken<L, const FAULT: u8> {
    whole: L,
    place: Place,
}

impl<L: Lab, const FAULT: u8> Lab for Broken<L, FAULT> {
    const TRANSPORT: &'static str = L::TRANSPORT;
    const VARIANT: Option<&'static str> = Some(word(FAULT));
    const BROKER: Option<Broker> = L::BROKER;
    const GUARANTEE: Guarantee = L::GUARANTEE;
    const OVERLOAD: Overload = L::OVERLOAD;
    const JOIN: Join = L::JOIN;
    // One that sends nothing again has nobody who recovers.
    const RECOVERY: Recovery = if FAULT == CONFIRMS_EARLY { Recovery::Nobody } else { L::RECOVERY };
    const KNOBS: &'static [Knob] = L::KNOBS;

    async fn open(place: &Place) -> Result<Self> {
        let another = match FAULT {
            NEVER_DEAD => {
                let never = [("max-attempts".to_owned(), 0)].into();
                Some(Place::new(&place.name(), place.broker().ok()).with_knobs(never))
            }
            _ => None,
        };
        Ok(Self { whole: L::open(another.as_ref().unwrap_or(place)).await?, place: place.clone() })
    }

    async fn remove(place: &Place) -> Result<()> {
        L::remove(place).await
    }
}

impl<L: Queue, const FAULT: u8> Queue for Broken<L, FAULT> {
    const CONFIRMED: labs::queue::Confirmed = L::CONFIRMED;
    type Producer = Sends<L::Producer, FAULT>;
    type Consumer = Takes<L::Consumer, FAULT>;
    type DeadLetters = L::DeadLetters;

    async fn dead_letters(&self) -> Result<Self::DeadLetters> {
        self.whole.dead_letters().await
    }

    async fn producer(&self) -> Result<Self::Producer> {
        let whole = Rc::new(self.whole.producer().await?);
        Ok(Sends { whole, sent: RefCell::default(), behind: RefCell::default() })
    }

    async fn consumer(&self, prefetch: u16) -> Result<Self::Consumer> {
        let prefetch = if FAULT == GREEDY { 100 } else { prefetch };
        // One more, so that there is something to overtake.
        let prefetch = if FAULT == SWAPS { prefetch + 1 } else { prefetch };
        Ok(Takes { whole: self.whole.consumer(prefetch).await?, kept: None, lock: None })
    }
}

pub(super) struct Sends<P, const FAULT: u8> {
    whole: Rc<P>,
    sent: RefCell<usize>,
    /// What was confirmed and is not sent yet.
    behind: RefCell<FuturesUnordered<LocalBoxFuture<'static, ()>>>,
}

impl<P: Producer + 'static, const FAULT: u8> Producer for Sends<P, FAULT> {
    async fn send(&self, body: Bytes) -> Result<()> {
        let number = self.sent.replace_with(|sent| *sent + 1);
        match FAULT {
            LOSES if number % 3 == 1 => Ok(()),
            CONFIRMS_EARLY => {
                let whole = Rc::clone(&self.whole);
                self.behind.borrow().push(Box::pin(async move { drop(whole.send(body).await) }));
                // Sends what it can, and waits for nothing.
                poll_fn(|context| {
                    for _ in 0..8 {
                        let _ = self.behind.borrow_mut().poll_next_unpin(context);
                    }
                    Poll::Ready(())
                })
                .await;
                Ok(())
            }
            _ => self.whole.send(body).await,
        }
    }

    async fn close(self) -> Result<()> {
        let mut behind = self.behind.into_inner();
        if FAULT != CONFIRMS_EARLY {
            while behind.next().await.is_some() {}
        }
        drop(behind);
        match Rc::try_unwrap(self.whole) {
            Ok(whole) => whole.close().await,
            Err(_) => Ok(()),
        }
    }
}

pub(super) struct Takes<C: Consumer, const FAULT: u8> {
    whole: C,
    kept: Option<Delivery<C::Item, C::Receipt>>,
    /// Held from a delivery to its acknowledgement.
    lock: Option<std::fs::File>,
}

/// The lock of all consumers that the same test has started.
async fn lock() -> Result<std::fs::File> {
    let name = format!("lab-one-lock-{}", std::os::unix::process::parent_id());
    let path = std::env::temp_dir().join(name);
    let file = std::fs::File::options().create(true).append(true).open(path)?;
    while file.try_lock().is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    Ok(file)
}

impl<C: Consumer<Item = Bytes> + 'static, const FAULT: u8> Consumer for Takes<C, FAULT> {
    type Item = Bytes;
    type Receipt = Option<C::Receipt>;

    async fn next(&mut self) -> Result<Option<Delivery<Bytes, Self::Receipt>>> {
        loop {
            let came = match FAULT {
                SWAPS => {
                    if self.kept.is_none() {
                        self.kept = self.whole.next().await?;
                    }
                    // The one behind, if there is one soon; else there is nothing to overtake.
                    let behind =
                        tokio::time::timeout(std::time::Duration::from_millis(30), self.whole.next());
                    match behind.await {
                        Ok(behind) => behind?,
                        Err(_) => self.kept.take(),
                    }
                }
                _ => self.whole.next().await?,
            };
            let Some(Delivery { item, attempt, receipt }) = came else { return Ok(None) };
            match FAULT {
                ACKS_EARLY => {
                    self.whole.ack(receipt).await?;
                    self.whole.flush().await?;
                    return Ok(Some(Delivery { item, attempt, receipt: None }));
                }
                NEVER_AGAIN if attempt > 1 => {
                    self.whole.ack(receipt).await?;
                    self.whole.flush().await?;
                }
                ONE_LOCK => {
                    self.lock = Some(lock().await?);
                    return Ok(Some(Delivery { item, attempt, receipt: Some(receipt) }));
                }
                UNMARKED => return Ok(Some(Delivery { item, attempt: 1, receipt: Some(receipt) })),
                _ => return Ok(Some(Delivery { item, attempt, receipt: Some(receipt) })),
            }
        }
    }

    async fn ack(&mut self, receipt: Self::Receipt) -> Result<()> {
        self.lock = None;
        match receipt {
            Some(receipt) => self.whole.ack(receipt).await,
            None => Ok(()),
        }
    }

    async fn nack(&mut self, receipt: Self::Receipt) -> Result<()> {
        match receipt {
            Some(receipt) => self.whole.nack(receipt).await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.whole.flush().await
    }

    async fn close(self) -> Result<()> {
        self.whole.close().await
    }
}

impl<L: PubSub, const FAULT: u8> PubSub for Broken<L, FAULT> {
    const FILTERS: &'static [FilterKind] = L::FILTERS;
    const PUBLISHERS: Option<usize> = L::PUBLISHERS;
    type Publisher = Publishes<L::Publisher, FAULT>;
    type Subscriber = Listens<L::Subscriber, FAULT>;

    async fn publisher(&self) -> Result<Self::Publisher> {
        Ok(Publishes { whole: self.whole.publisher().await?, place: self.place.clone() })
    }

    async fn subscriber(&self, filter: &Filter) -> Result<Self::Subscriber> {
        // Its role has a process of its own.
        static JOINED: AtomicUsize = AtomicUsize::new(0);
        let again = JOINED.fetch_add(1, Ordering::Relaxed) > 0;
        let deaf = FAULT == FORGETS && again;
        Ok(Listens { whole: self.whole.subscriber(filter).await?, missed: 0, deaf })
    }
}

pub(super) struct Publishes<P, const FAULT: u8> {
    whole: P,
    place: Place,
}

impl<P: Publisher, const FAULT: u8> Publisher for Publishes<P, FAULT> {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        if FAULT == ENDS_AT_FOREIGN && self.place.incidents().counts().peers_disconnected > 0 {
            bail!("a peer has sent what this cannot read");
        }
        self.whole.publish(topic, body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.whole.flush().await
    }
    async fn close(self) -> Result<()> {
        self.whole.close().await
    }
}

pub(super) struct Listens<S, const FAULT: u8> {
    whole: S,
    missed: usize,
    deaf: bool,
}

impl<S: Subscriber, const FAULT: u8> Subscriber for Listens<S, FAULT> {
    async fn next(&mut self) -> Result<Option<Event>> {
        if self.deaf {
            return std::future::pending().await;
        }
        while FAULT == MISSES_FIRST && self.missed < 2 {
            if self.whole.next().await?.is_none() {
                return Ok(None);
            }
            self.missed += 1;
        }
        self.whole.next().await
    }
}

impl<L: RequestReply, const FAULT: u8> RequestReply for Broken<L, FAULT> {
    const MATCHING: Matching = L::MATCHING;
    type Requester = Asks<L::Requester>;
    type Responder = L::Responder;

    async fn requester(&self) -> Result<Self::Requester> {
        Ok(Asks { whole: Rc::new(self.whole.requester().await?), open: RefCell::default() })
    }

    async fn responder(&self) -> Result<Self::Responder> {
        self.whole.responder().await
    }
}

/// The next reply goes to any caller that waits, whatever it asked.
pub(super) struct Asks<R> {
    whole: Rc<R>,
    open: RefCell<FuturesUnordered<LocalBoxFuture<'static, Result<Document>>>>,
}

impl<R: Requester + 'static> Requester for Asks<R> {
    async fn ask(&self, request: Command) -> Result<Document> {
        let whole = Rc::clone(&self.whole);
        self.open.borrow().push(Box::pin(async move { whole.ask(request).await }));
        let next = poll_fn(|context| self.open.borrow_mut().poll_next_unpin(context)).await;
        next.context("no request is open")?
    }
}

/// A consumer that is told to remember what it did, and does not.
const FORGETFUL: &str = "queue-redis-forgetful";
/// A sender at a fixed rate that still waits for each message to arrive.
const COORDINATED: &str = "pubsub-redis-coordinated";

/// The lab of the catalog whose name a mutant's begins with.
fn original(name: &str) -> Option<Handle> {
    harness::roles::handles().into_iter().find(|handle| handle.entry.name == name)
}

fn forgetful(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
) -> Result<()> {
    let whole = original("queue-redis").context("there is no queue-redis")?;
    let (lines, changed) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut inbox = inbox;
        while let Some(mut line) = inbox.blocking_recv() {
            if let ToRole::Command(RoleCommand::Work(work)) = &mut line {
                work.once = None;
            }
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    (whole.run)(init, changed, outbox, registry)
}

fn coordinated(
    mut init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    outbox: Outbox,
    registry: Arc<Registry>,
) -> Result<()> {
    let whole = original("pubsub-redis").context("there is no pubsub-redis")?;
    if let Some(measure) = &mut init.measure {
        measure.lockstep = true;
    }
    (whole.run)(init, inbox, outbox, registry)
}

/// Every mutant, for the processes of its roles.
pub(crate) fn handles() -> Vec<Handle> {
    use labs::{pubsub, queue, reqrep};
    let mut broken = Handles::new();
    broken.queue::<Broken<queue::tcp::Tcp, ACKS_EARLY>>();
    broken.queue::<Broken<queue::tcp::Tcp, NEVER_AGAIN>>();
    broken.queue::<Broken<queue::tcp::Tcp, UNMARKED>>();
    broken.queue::<Broken<queue::tcp::Tcp, LOSES>>();
    broken.queue::<Broken<queue::redis::RedisList, LOSES>>();
    broken.queue::<Broken<queue::redis::RedisList, CONFIRMS_EARLY>>();
    broken.queue::<Broken<queue::zeromq::ZeroMq, GREEDY>>();
    broken.queue::<Broken<queue::tcp::Tcp, SWAPS>>();
    broken.queue::<Broken<queue::redis::RedisList, ONE_LOCK>>();
    broken.queue::<Broken<queue::redis::RedisList, NEVER_DEAD>>();
    broken.pub_sub::<Broken<pubsub::tcp::Tcp, MISSES_FIRST>>();
    broken.pub_sub::<Broken<pubsub::tcp::Tcp, ENDS_AT_FOREIGN>>();
    broken.pub_sub::<Broken<pubsub::tcp::Tcp, FORGETS>>();
    broken.request_reply::<Broken<reqrep::tcp::Tcp, SHARED_ID>>();
    let changed = |whole: &str, name: &str, change: fn(&mut Handle)| {
        let mut handle = original(whole)?;
        change(&mut handle);
        name.clone_into(&mut handle.entry.name);
        Some(handle)
    };
    let mut handles = broken.0;
    handles.extend(changed("queue-redis", FORGETFUL, |handle| handle.run = forgetful));
    handles.extend(changed("pubsub-redis", COORDINATED, |handle| handle.run = coordinated));
    handles
}
