//! Queued delivery: what every stream owes, and who answers for a message when.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, try_join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use labs::lab::{Guarantee, Place};
use labs::queue::{Confirmed, Consumer, Delivery, Producer, Queue};
use tokio::task::unconstrained;

use super::deaf;
use super::hostile::{self, Listener};
use super::in_flight::in_flight;
use super::killed::{consumer_killed, producer_killed};
use super::place::Site;
use super::queue_dead::dead;
use super::queue_kept::durable;
use super::stream::{self, END, Rx, Stream, Tx, each_once, message, number};
use super::{Promise, foreign, promises};

/// Sends in flight at once.
const WINDOW: usize = 256;
/// Deliveries a stream's consumer may hold.
pub(super) const PREFETCH: u16 = 64;
/// How long "nothing comes" is watched. There can be no marker behind what must
/// not come, and waiting too short a time only shows less.
const NOTHING: Duration = Duration::from_millis(250);

pub(super) fn promises<L: Queue>() -> Vec<Promise> {
    let mut promises = stream::promises::<Line<L>>("");
    promises
        .extend(promises![L: in_flight, confirmed, once, prefetch, ack, nack, redelivered, returns, dead]);
    promises.extend(foreign::queue::<L>());
    if hostile::listens::<L>() {
        const LISTENER: Listener = Listener { foreign: b"Zzz", socket: b"DEALER" };
        promises.push(Promise::of::<L, _>("hostile", |site| hostile::stream::<Line<L>>(site, LISTENER)));
        promises.push(Promise::of::<L, _>("deaf", |site| deaf::consumer::<L>(site.claiming_soon())));
    }
    match (L::BROKER, L::GUARANTEE) {
        (Some(_), Guarantee::Durable) => promises.extend(promises![L: durable]),
        (Some(_), _) => {}
        // Where no broker holds the queue, its roles do, as processes.
        (None, Guarantee::Durable) => promises.extend(promises![L: consumer_killed, producer_killed]),
        (None, _) => promises.extend(promises![L: consumer_killed]),
    }
    promises
}

pub(super) struct Line<L>(PhantomData<L>);

impl<L: Queue> Stream for Line<L> {
    type Lab = L;
    type Tx = Out<L::Producer>;
    type Rx = In<L::Consumer>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        let lab = L::open(place).await?;
        let (producer, consumer) = tokio::try_join!(lab.producer(), lab.consumer(PREFETCH))?;
        Ok((Out::new::<L>(producer), In::confirming(consumer, L::CONFIRMED)))
    }
}

pub(super) struct Out<P> {
    producer: Rc<P>,
    confirmed: Confirmed,
    most: usize,
    in_flight: FuturesUnordered<LocalBoxFuture<'static, Result<()>>>,
}

impl<P: Producer + 'static> Out<P> {
    pub(super) fn new<L: Queue<Producer = P>>(producer: P) -> Self {
        let (producer, in_flight) = (Rc::new(producer), FuturesUnordered::new());
        Self { producer, confirmed: L::CONFIRMED, most: WINDOW, in_flight }
    }

    pub(super) fn start(&mut self, body: Bytes) -> Result<()> {
        let producer = Rc::clone(&self.producer);
        let mut send = async move { producer.send(body).await }.boxed_local();
        match unconstrained(&mut send).now_or_never() {
            Some(sent) => sent?,
            None => self.in_flight.push(send),
        }
        Ok(())
    }

    pub(super) async fn confirmed(&mut self, left: usize) -> Result<()> {
        while self.in_flight.len() > left {
            self.in_flight.next().await.transpose()?;
        }
        Ok(())
    }
}

impl<P: Producer + 'static> Tx for Out<P> {
    /// All are started, in order, at most so many at once. What is confirmed
    /// only when a consumer acks it is not waited for: none may be here yet.
    async fn put(&mut self, bodies: Vec<Bytes>) -> Result<()> {
        for body in bodies {
            self.confirmed(self.most - 1).await?;
            self.start(body)?;
        }
        match self.confirmed {
            Confirmed::Stored => self.confirmed(0).await,
            Confirmed::Acked => Ok(()),
        }
    }
    /// Each is confirmed already, or cannot be.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    async fn close(mut self) -> Result<()> {
        self.confirmed(0).await?;
        Rc::into_inner(self.producer).context("a send is still in flight")?.close().await
    }
}

/// Takes, and acks what it took.
pub(super) struct In<C: Consumer> {
    consumer: C,
    receipt: Option<C::Receipt>,
    flush: bool,
}

impl<C: Consumer> In<C> {
    pub(super) fn new(consumer: C) -> Self {
        Self::confirming(consumer, Confirmed::Stored)
    }

    /// Where an ack is what confirms, the last one must not wait for company.
    pub(super) fn confirming(consumer: C, confirmed: Confirmed) -> Self {
        Self { consumer, receipt: None, flush: confirmed == Confirmed::Acked }
    }
}

impl<C: Consumer<Item = Bytes>> Rx for In<C> {
    async fn get(&mut self) -> Result<Option<Bytes>> {
        let delivery = self.consumer.next().await?;
        Ok(delivery.map(|delivery| {
            self.receipt = Some(delivery.receipt);
            delivery.item
        }))
    }
    async fn settle(&mut self) -> Result<()> {
        match self.receipt.take() {
            Some(receipt) => self.consumer.ack(receipt).await?,
            None => return Ok(()),
        }
        if self.flush { self.consumer.flush().await } else { Ok(()) }
    }
}

type Held<C> = Delivery<Bytes, <C as Consumer>::Receipt>;

/// The next delivery, soon.
pub(super) async fn next<C: Consumer<Item = Bytes>>(site: &Site, consumer: &mut C) -> Result<Held<C>> {
    let next = async { consumer.next().await?.context("the consumer says that nothing can come any more") };
    site.soon("a delivery comes", next).await
}

/// What a producer has handed over: confirmed, unless a consumer must ack it
/// first. A producer leaves, unless it is the one that keeps the queue.
struct Supply<P>(Option<Out<P>>);

async fn supply<L: Queue>(
    site: &Site,
    lab: &L,
    numbers: impl Iterator<Item = u64>,
) -> Result<Supply<L::Producer>> {
    let mut supply = Supply(Some(Out { most: usize::MAX, ..Out::new::<L>(lab.producer().await?) }));
    supply.put(site, numbers).await?;
    if L::BROKER.is_some() {
        supply.close(site).await?;
        supply = Supply(None);
    }
    Ok(supply)
}

impl<P: Producer + 'static> Supply<P> {
    async fn put(&mut self, site: &Site, numbers: impl Iterator<Item = u64>) -> Result<()> {
        let tx = self.0.as_mut().context("the producer has left")?;
        let bodies = numbers.map(|number| message(number, 64)).collect();
        site.soon("all is confirmed", tx.put(bodies)).await
    }

    /// By now all that was handed over is acked.
    async fn close(self, site: &Site) -> Result<()> {
        match self.0 {
            Some(tx) => site.soon("what was acked is confirmed, and the producer closes", tx.close()).await,
            None => Ok(()),
        }
    }
}

/// Takes and acks until all of `expected` have come: how often each was delivered at least.
pub(super) async fn attempts<C: Consumer<Item = Bytes>>(
    site: &Site,
    consumer: &mut C,
    expected: impl Iterator<Item = u64>,
) -> Result<BTreeMap<u64, u32>> {
    let (mut missing, mut attempts): (Vec<u64>, _) = (expected.collect(), BTreeMap::new());
    while !missing.is_empty() {
        let delivery = next(site, consumer).await;
        let delivery = delivery.with_context(|| format!("{} messages have not come", missing.len()))?;
        let number = number(&delivery.item)?;
        attempts.entry(number).or_insert(delivery.attempt);
        missing.retain(|expected| *expected != number);
        consumer.ack(delivery.receipt).await?;
    }
    consumer.flush().await?;
    Ok(attempts)
}

/// Confirmed is held: the producer may go, and a consumer may come later.
/// Where the queue lives with the producer, that must come again for it; and
/// where confirmed means acked, nothing is before it was.
async fn confirmed<L: Queue>(site: Site) -> Result<()> {
    if L::CONFIRMED == Confirmed::Acked {
        return confirmed_when_acked::<L>(site).await;
    }
    let lab = L::open(&site.place()).await?;
    supply(&site, &lab, 0..500).await?.close(&site).await?;
    let lab = L::open(&site.place()).await?;
    let _back = match L::BROKER {
        Some(_) => None,
        None => Some(lab.producer().await?),
    };
    let mut consumer = lab.consumer(PREFETCH).await?;
    attempts(&site, &mut consumer, 0..500).await?;
    consumer.close().await
}

pub(super) async fn confirmed_when_acked<L: Queue>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let mut tx = Out::new::<L>(lab.producer().await?);
    tx.put((0..20).map(|number| message(number, 64)).collect()).await?;
    let mut consumer = lab.consumer(20).await?;
    let mut held = VecDeque::new();
    while held.len() < 20 {
        held.push_back(next(&site, &mut consumer).await?.receipt);
    }
    for left in [20, 10] {
        let more = tokio::time::timeout(NOTHING, tx.confirmed(left - 1)).await;
        let open = tx.in_flight.len();
        ensure!(more.is_err() && open == left, "{open} of 20 are not confirmed, and {left} are not acked");
        for receipt in held.drain(..10) {
            consumer.ack(receipt).await?;
        }
        consumer.flush().await?;
        site.soon("what was acked is confirmed", tx.confirmed(left - 10)).await?;
    }
    consumer.close().await?;
    tx.close().await
}

/// Competing consumers: in steady state each message goes to one, once.
async fn once<L: Queue>(site: Site) -> Result<()> {
    const EACH: u64 = 1_000;
    let lab = L::open(&site.place()).await?;
    // A last one for each: whoever has taken one takes no more.
    let mut tx = Out::new::<L>(lab.producer().await?);
    let consumers = [lab.consumer(8).await?, lab.consumer(8).await?];
    let sending = async {
        tx.put((0..EACH).map(|number| message(number, 64)).collect()).await?;
        tx.put(vec![message(END, 64)]).await?;
        tx.put(vec![message(END, 64)]).await
    };
    let taking = try_join_all(consumers.map(async |consumer| {
        let mut rx = In::confirming(consumer, L::CONFIRMED);
        let came = stream::take_all(&mut rx).await?;
        rx.consumer.close().await?;
        anyhow::Ok(came)
    }));
    let both = async { tokio::try_join!(sending, taking) };
    let ((), came) = site.soon("the last messages come", both).await?;
    each_once(&came.concat(), 0..EACH)
}

/// No more than the agreed number is handed out and unsettled.
async fn prefetch<L: Queue>(site: Site) -> Result<()> {
    for prefetch in [1, 4] {
        let lab = L::open(&site.place()).await?;
        let _supply = supply(&site, &lab, 0..20).await?;
        let mut consumer = lab.consumer(prefetch).await?;
        let mut held = VecDeque::new();
        for _ in 0..3 {
            while held.len() < usize::from(prefetch) {
                held.push_back(next(&site, &mut consumer).await?);
            }
            let more = tokio::time::timeout(NOTHING, consumer.next()).await;
            ensure!(more.is_err(), "a delivery came while {prefetch} were unsettled, the agreed most");
            // One settled makes room for one.
            if let Some(oldest) = held.pop_front() {
                consumer.ack(oldest.receipt).await?;
                consumer.flush().await?;
            }
        }
        drop(consumer);
        L::remove(&site.place()).await?;
    }
    Ok(())
}

/// What was acked does not come again; what was not does.
async fn ack<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let lab = L::open(&site.place()).await?;
    let mut source = supply(&site, &lab, 0..10).await?;
    let mut first = lab.consumer(10).await?;
    for _ in 0..10 {
        let delivery = next(&site, &mut first).await?;
        if number(&delivery.item)? % 2 == 0 {
            first.ack(delivery.receipt).await?;
        }
    }
    first.flush().await?;
    drop(first);
    let mut second = lab.consumer(10).await?;
    let came = attempts(&site, &mut second, (0..10).filter(|number| number % 2 == 1)).await?;
    // What comes again does so before what is sent now, or with it.
    match source.0 {
        Some(_) => source.put(&site, [END].into_iter()).await?,
        None => source = supply(&site, &lab, [END].into_iter()).await?,
    }
    let last = attempts(&site, &mut second, [END].into_iter()).await?;
    let acked = came.keys().chain(last.keys()).find(|number| **number % 2 == 0);
    ensure!(acked.is_none(), "message {acked:?} was acked and came again");
    second.close().await?;
    source.close(&site).await
}

/// What was nacked comes again and says so.
async fn nack<L: Queue>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let supply = supply(&site, &lab, 0..1).await?;
    let mut consumer = lab.consumer(4).await?;
    for time in 1..=3 {
        let delivery = next(&site, &mut consumer).await?;
        let attempt = delivery.attempt;
        ensure!((time > 1) == (attempt > 1), "delivery {time} of a message is marked as attempt {attempt}");
        consumer.nack(delivery.receipt).await?;
        consumer.flush().await?;
    }
    attempts(&site, &mut consumer, 0..1).await?;
    consumer.close().await?;
    supply.close(&site).await
}

/// The deliveries of a consumer that has gone without a word come again, marked.
async fn redelivered<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon();
    let lab = L::open(&site.place()).await?;
    let supply = supply(&site, &lab, 0..20).await?;
    let mut first = lab.consumer(5).await?;
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.push(number(&next(&site, &mut first).await?.item)?);
    }
    drop(first);
    let mut second = lab.consumer(5).await?;
    let came = attempts(&site, &mut second, 0..20).await?;
    for number in taken {
        let attempt = came[&number];
        ensure!(attempt > 1, "message {number} came again, marked as attempt {attempt}");
    }
    second.close().await?;
    supply.close(&site).await
}

/// A consumer that closes gives back at once what it has not settled.
async fn returns<L: Queue>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let supply = supply(&site, &lab, 0..20).await?;
    let mut first = lab.consumer(8).await?;
    for _ in 0..5 {
        next(&site, &mut first).await?;
    }
    first.close().await?;
    let mut second = lab.consumer(8).await?;
    attempts(&site, &mut second, 0..20).await?;
    second.close().await?;
    supply.close(&site).await
}
