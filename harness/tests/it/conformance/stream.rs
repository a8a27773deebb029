//! What every pattern owes that carries messages from one end to another:
//! order, no loss, intact bytes, an honest flush, a cancel-safe receiving end,
//! a close that drains, places that keep apart, and nothing left behind.
//!
//! A pattern makes a [`Stream`] of its two ends and gets all of these checks.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use labs::lab::{Broker, Lab, Place};

use super::leftovers::{no_queues_and_exchanges, nothing_left};
use super::place::{Site, own};
use super::{Promise, overload};

/// Messages in a check that looks for the one that goes missing.
const MANY: u64 = 3_000;
/// The number of the message after which nothing more comes.
pub(super) const END: u64 = u64::MAX;

/// The two ends of a lab, joined.
pub(super) trait Stream: 'static {
    type Lab: Lab;
    type Tx: Tx;
    type Rx: Rx;
    /// Joins both ends; what is sent after this is received.
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)>;
}

/// The sending end.
pub(super) trait Tx {
    /// Hands over all of them, in order.
    async fn put(&mut self, bodies: Vec<Bytes>) -> Result<()>;
    async fn flush(&mut self) -> Result<()>;
    async fn close(self) -> Result<()>;
}

/// The receiving end.
pub(super) trait Rx {
    /// As cancel-safe as the lab's own.
    async fn get(&mut self) -> Result<Option<Bytes>>;
    /// Settles what came last, where there is something to settle.
    async fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The checks, their names beginning with `prefix`.
pub(super) fn promises<S: Stream>(prefix: &str) -> Vec<Promise> {
    let mut promises = vec![
        Promise::of::<S::Lab, _>("order", order::<S>),
        Promise::of::<S::Lab, _>("loss", loss::<S>),
        Promise::of::<S::Lab, _>("bytes", bytes::<S>),
        Promise::of::<S::Lab, _>("flush", flush::<S>),
        Promise::of::<S::Lab, _>("cancel", cancel::<S>),
        Promise::of::<S::Lab, _>("close", close::<S>),
        Promise::of::<S::Lab, _>("apart", apart::<S>),
        Promise::of::<S::Lab, _>("remove", remove::<S>),
        Promise::of::<S::Lab, _>("overload", overload::overload::<S>),
    ];
    if S::Lab::BROKER.is_some() {
        promises.push(Promise::of::<S::Lab, _>("traces", traces::<S>));
    }
    promises.iter_mut().for_each(|promise| promise.name.insert_str(0, prefix));
    promises
}

/// The bytes that come after `seed`: all values, in no order a codec could like.
pub(super) fn noise(seed: u64, len: usize) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes())
    };
    std::iter::from_fn(next).flatten().take(len)
}

/// A message that can be told from a damaged one: its number, and noise that depends on it.
/// Copied from a table, because there are millions of them and nothing here is optimised.
pub(super) fn message(number: u64, size: usize) -> Bytes {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| noise(7, 64 << 10).collect());
    let mut body = Vec::with_capacity(size.max(8));
    body.extend_from_slice(&number.to_le_bytes());
    let mut from = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % NOISE.len();
    while body.len() < size {
        let next = &NOISE[from..];
        body.extend_from_slice(&next[..next.len().min(size - body.len())]);
        from = 0;
    }
    body.into()
}

/// The number of a message, if it is whole.
pub(super) fn number(body: &Bytes) -> Result<u64> {
    let number = body.first_chunk().map(|first| u64::from_le_bytes(*first));
    let number = number.with_context(|| format!("a body of {} bytes came", body.len()))?;
    ensure!(*body == message(number, body.len()), "message {number} was damaged on its way");
    Ok(number)
}

/// The next message's number.
pub(super) async fn take(rx: &mut impl Rx) -> Result<u64> {
    let body = rx.get().await?.context("the receiving end says that nothing can come any more")?;
    rx.settle().await?;
    number(&body)
}

/// All numbers until the end.
pub(super) async fn take_all(rx: &mut impl Rx) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    loop {
        match take(rx).await? {
            END => return Ok(numbers),
            number => numbers.push(number),
        }
    }
}

/// Puts `bodies` and the end, and takes all that comes before it.
pub(super) async fn pass<S: Stream>(
    site: &Site,
    tx: &mut S::Tx,
    rx: &mut S::Rx,
    bodies: Vec<Bytes>,
) -> Result<Vec<u64>> {
    let send = async {
        tx.put(bodies).await?;
        tx.put(vec![message(END, 32)]).await?;
        tx.flush().await
    };
    let both = async { tokio::try_join!(send, take_all(rx)) };
    Ok(site.soon("the last message comes", both).await?.1)
}

/// Every number of `expected` came, and once.
pub(super) fn each_once(came: &[u64], expected: impl Iterator<Item = u64>) -> Result<()> {
    let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
    came.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
    let missing: Vec<u64> = expected.filter(|number| counts.remove(number) != Some(1)).collect();
    let doubled = missing.iter().find(|number| came.contains(number));
    if let Some(number) = doubled {
        bail!("message {number} came more than once");
    }
    ensure!(missing.is_empty(), "{} messages are missing, the first is {}", missing.len(), missing[0]);
    ensure!(counts.is_empty(), "{} messages came that nobody had sent here", counts.len());
    Ok(())
}

/// One sender, one receiver: in the order in which they were sent.
async fn order<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let bodies = (0..MANY).map(|number| message(number, 32)).collect();
    let came = pass::<S>(&site, &mut tx, &mut rx, bodies).await?;
    match came.windows(2).find(|pair| pair[0] > pair[1]) {
        Some(pair) => bail!("message {} came after {}", pair[1], pair[0]),
        None => Ok(()),
    }
}

/// In steady state nothing is lost and nothing doubled, whatever its size.
async fn loss<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    for (count, size) in [(MANY, 32), (100, 64 << 10), (6, 1 << 20)] {
        let bodies = (0..count).map(|number| message(number, size)).collect();
        let came = pass::<S>(&site, &mut tx, &mut rx, bodies).await?;
        each_once(&came, 0..count).with_context(|| format!("messages of {size} bytes"))?;
    }
    Ok(())
}

/// A body is bytes, and comes as it was sent: empty, binary, or like a protocol.
async fn bytes<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let sizes = [0, 1, 2, 3, 7, 8, 255, 256, 257, 4095, 4096, 65_535, 65_536, 1 << 20];
    let mut bodies: Vec<Bytes> = sizes.iter().map(|size| noise(7, *size).collect()).collect();
    bodies.extend(["\r\n", "$5\r\nhello\r\n", "*1\r\n", "\0", "\0\0\0\u{5}", " ", "a b\n"].map(Bytes::from));
    bodies.extend([Bytes::from_iter(0..=255), Bytes::from_iter([0xff; 300])]);
    for sent in bodies {
        let send = async {
            tx.put(vec![sent.clone()]).await?;
            tx.flush().await
        };
        let receive = async {
            let came = rx.get().await?.context("the receiving end says that nothing can come any more")?;
            rx.settle().await?;
            anyhow::Ok(came)
        };
        let what = format!("a body of {} bytes comes", sent.len());
        let ((), came) = site.soon(&what, async { tokio::try_join!(send, receive) }).await?;
        ensure!(came == sent, "{} bytes were sent, and {} others came", sent.len(), came.len());
    }
    Ok(())
}

/// What is flushed is received without a further call at the sending end.
async fn flush<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    for sent in 0..30 {
        tx.put(vec![message(sent, 32)]).await?;
        site.soon("the flush returns", tx.flush()).await?;
        let came = site.soon("a flushed message comes without a further send", take(&mut rx)).await?;
        ensure!(came == sent, "message {came} came where {sent} was due");
    }
    Ok(())
}

/// Giving up to wait for a message costs none.
async fn cancel<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let send = async {
        for chunk in (0..MANY).collect::<Vec<_>>().chunks(50) {
            tx.put(chunk.iter().map(|number| message(*number, 32)).collect()).await?;
            tx.flush().await?;
            tokio::task::yield_now().await;
        }
        tx.put(vec![message(END, 32)]).await?;
        tx.flush().await
    };
    let receive = async {
        let mut came = Vec::new();
        for polls in noise(1, usize::MAX) {
            let body = tokio::select! {
                biased;
                body = rx.get() => body?,
                () = a_moment(polls) => continue,
            };
            rx.settle().await?;
            match number(&body.context("the receiving end says that nothing can come any more")?)? {
                END => break,
                number => came.push(number),
            }
        }
        anyhow::Ok(came)
    };
    let ((), came) = site.soon("the last message comes", async { tokio::try_join!(send, receive) }).await?;
    each_once(&came, 0..MANY)
}

/// From no time at all to a millisecond, so that a wait is given up at any point.
pub(super) async fn a_moment(polls: u8) {
    match polls % 8 {
        7 => tokio::time::sleep(Duration::from_millis(1)).await,
        polls => {
            for _ in 0..polls {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Close drains what was accepted.
async fn close<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let send = async {
        tx.put((0..MANY).map(|number| message(number, 32)).collect()).await?;
        tx.close().await
    };
    let mut came = Vec::new();
    let receive = async {
        while (came.len() as u64) < MANY {
            came.push(take(&mut rx).await?);
        }
        anyhow::Ok(())
    };
    let both = site.soon("all that was accepted comes", async { tokio::try_join!(send, receive) }).await;
    both.with_context(|| format!("{} of {MANY} messages came after the close", came.len()))?;
    each_once(&came, 0..MANY)
}

/// Two places do not hear each other.
async fn apart<S: Stream>(site: Site) -> Result<()> {
    let neighbour = site.beside();
    let places = (site.place(), neighbour.place());
    let (here, there) = tokio::try_join!(S::join(&places.0), S::join(&places.1))?;
    let mut ends = [(site, here), (neighbour.clone(), there)];
    for (at, (_, (tx, _))) in ends.iter_mut().enumerate() {
        tx.put((0..100).map(|number| message(1000 * at as u64 + number, 32)).collect()).await?;
        tx.flush().await?;
    }
    for (at, (site, (tx, rx))) in ends.iter_mut().enumerate() {
        let came = pass::<S>(site, tx, rx, Vec::new()).await?;
        let first = 1000 * at as u64;
        each_once(&came, first..first + 100).context("the other place was heard, or this one was not")?;
    }
    drop(ends);
    S::Lab::remove(&neighbour.place()).await
}

/// What is removed is gone: whoever comes to a place of that name starts anew.
async fn remove<S: Stream>(site: Site) -> Result<()> {
    S::Lab::remove(&site.place()).await.context("removing what was never there")?;
    let (mut tx, rx) = S::join(&site.place()).await?;
    tx.put((0..20).map(|number| message(number, 32)).collect()).await?;
    tx.flush().await?;
    drop((tx, rx));
    for time in ["once", "twice"] {
        S::Lab::remove(&site.place()).await.with_context(|| format!("removing it {time}"))?;
    }
    let (mut tx, mut rx) = S::join(&site.place()).await.context("after it was removed")?;
    let came = async {
        tokio::select! {
            came = take_all(&mut rx) => came,
            failed = say_the_end::<S>(&mut tx) => failed,
        }
    };
    let came = site.soon("the last message comes", came).await?;
    ensure!(came.is_empty(), "{} messages from before the removal came", came.len());
    Ok(())
}

/// Again and again: a broker knows a receiver that was dropped for a moment, and what it gives to
/// that one is lost where messages come at most once.
async fn say_the_end<S: Stream>(tx: &mut S::Tx) -> Result<Vec<u64>> {
    loop {
        tx.put(vec![message(END, 32)]).await?;
        tx.flush().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Nothing stays in the broker: no key, no queue, no exchange, no client.
async fn traces<S: Stream>(site: Site) -> Result<()> {
    traces_of::<S::Lab>(site, |site| Box::pin(async move { leave_messages::<S>(&site).await })).await
}

/// Nothing of a lab stays in the broker when it was used and then removed.
pub(super) async fn traces_of<L: Lab>(
    site: Site,
    used: impl Fn(Site) -> LocalBoxFuture<'static, Result<()>>,
) -> Result<()> {
    let Some(broker) = L::BROKER else { return Ok(()) };
    if broker == Broker::RabbitMq {
        // It takes long to start, and what is in it can be asked for by name.
        used(site.clone()).await?;
        L::remove(&site.place()).await?;
        return no_queues_and_exchanges(&site).await;
    }
    // A broker of its own: whatever is in it is ours.
    let (server, dir) = own(broker, false).await?;
    let there = site.moved_to(&server);
    used(there.clone()).await?;
    L::remove(&there.place()).await?;
    nothing_left(broker, &there).await?;
    server.stop().await?;
    drop(dir);
    Ok(())
}

async fn leave_messages<S: Stream>(site: &Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    tx.put((0..50).map(|number| message(number, 32)).collect()).await?;
    tx.flush().await?;
    for _ in 0..10 {
        site.soon("a message comes", take(&mut rx)).await?;
    }
    // And some that nobody reads.
    drop(rx);
    tx.put((0..50).map(|number| message(number, 32)).collect()).await?;
    tx.flush().await
}
