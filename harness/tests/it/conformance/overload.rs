//! What a lab's `OVERLOAD` says is what happens when nobody reads.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use labs::lab::{Lab, Overload};

use super::place::Site;
use super::stream::{END, Rx as _, Stream, Tx as _, each_once, message, number, pass, take, take_all};

/// More than any bounded buffer on the way may hold, of messages of this size.
const TOO_MANY: u64 = 30_000;
const SIZE: usize = 8 << 10;
/// A sender that got nothing off its hands for so long is taken to wait. On a
/// slow machine it may only have been slow: then less is shown, and no test fails.
const STILL: Duration = Duration::from_millis(400);

/// Messages that are stored while nobody reads.
const STORED: u64 = 5_000;
/// What a lab that drops gets: more than its buffer and those of the kernel on the way hold.
const FLOOD: u64 = 40_000;
const FLOOD_SIZE: usize = 1 << 10;
/// So many floods are tried, until one of them is too much.
const FLOODS: u64 = 4;
/// What a lab that drops may hold.
const HIGH_WATER: u64 = 2_000;
/// What comes behind all marks of a flood.
const LAST_MARK: u64 = END - 1;
/// Large messages that a lab gets that disconnects.
const LARGE_FLOOD: u64 = 1_500;
/// Messages after the flood, and how many of them are on their way at once.
const AFTER: u64 = 5_000;
const STEP: u64 = 500;

pub(super) async fn overload<S: Stream>(site: Site) -> Result<()> {
    match S::Lab::OVERLOAD {
        Overload::Waits => waits::<S>(site).await,
        Overload::Stores => stores::<S>(site).await,
        Overload::Drops => drops::<S>(site).await,
        Overload::Disconnects => disconnects::<S>(site).await,
    }
}

/// The sender comes to a stop within bounds, and goes on when the receiver
/// does; nothing is lost.
async fn waits<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let (accepted, stop) = (Cell::new(0), Cell::new(false));
    let feed = async {
        while !stop.get() {
            ensure!(
                accepted.get() < TOO_MANY,
                "{TOO_MANY} messages were accepted while nobody read: the sender does not wait"
            );
            tx.put(vec![message(accepted.get(), SIZE)]).await?;
            accepted.set(accepted.get() + 1);
        }
        tx.put(vec![message(END, 32)]).await?;
        tx.flush().await
    };
    let read = async {
        loop {
            let before = accepted.get();
            tokio::time::sleep(STILL).await;
            if before > 0 && accepted.get() == before {
                break;
            }
        }
        stop.set(true);
        take_all(&mut rx).await
    };
    let what = "the sender goes on when the receiver does";
    let ((), came) = site.soon(what, async { tokio::try_join!(feed, read) }).await?;
    each_once(&came, 0..accepted.get())
}

/// Whatever is sent while nobody reads comes later.
async fn stores<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let store = async {
        tx.put((0..STORED).map(|number| message(number, 256)).collect()).await?;
        tx.flush().await
    };
    site.soon("all is stored while nobody reads", store).await?;
    let came = pass::<S>(&site, &mut tx, &mut rx, Vec::new()).await?;
    each_once(&came, 0..STORED)
}

/// The sender never waits. The slow receiver gets as many as the buffer holds,
/// the oldest or the newest, misses others, and goes on with all that are newer.
async fn drops<S: Stream>(site: Site) -> Result<()> {
    let site = site.with(&[("high-water", HIGH_WATER as usize)]);
    let place = site.place();
    let (mut tx, mut rx) = S::join(&place).await?;
    ensure!(
        place.knobs_read().contains_key("high-water"),
        "the lab drops, and has no knob `high-water` that says what it holds before it does"
    );
    // A receiver that happens to read as fast as the flood comes shows nothing: then another flood.
    let mut before = 0;
    let came = loop {
        let came = flood::<S>(&site, &mut tx, &mut rx, before).await?;
        if (came.len() as u64) < FLOOD {
            break came;
        }
        before += FLOOD;
        ensure!(before < FLOODS * FLOOD, "all {before} messages came: nothing was dropped");
        no_marks::<S>(&site, &mut tx, &mut rx).await?;
    };
    ensure!(came.windows(2).all(|pair| pair[0] < pair[1]), "what was not dropped came out of order");
    let oldest = came.iter().zip(0..).take_while(|(came, due)| **came == *due).count() as u64;
    let newest =
        came.iter().rev().zip((0..FLOOD).rev()).take_while(|(came, due)| **came == *due).count() as u64;
    ensure!(
        oldest.max(newest) >= HIGH_WATER - HIGH_WATER / 50,
        "of the {HIGH_WATER} messages that the buffer is said to hold, the first {oldest} came, or the last {newest}"
    );
    // Nobody is too slow any more, and so nothing may be dropped any more.
    let mut late = 0;
    while late < AFTER {
        let bodies = (late..late + STEP).map(|number| message(before + FLOOD + number, FLOOD_SIZE)).collect();
        let step = async {
            tx.put(bodies).await?;
            tx.flush().await
        };
        site.soon("the sender goes on", step).await?;
        let mut came = Vec::new();
        let read = async {
            while (came.len() as u64) < STEP {
                // Some of the marks may still be on their way.
                came.extend(Some(take(&mut rx).await?).filter(|number| *number != END));
            }
            Ok(())
        };
        let all = site.soon("all comes to a receiver that keeps up", read).await;
        all.with_context(|| format!("{} of {STEP}", came.len()))?;
        let first = before + FLOOD + late;
        each_once(&came, first..first + STEP).context("to a receiver that keeps up")?;
        late += STEP;
    }
    Ok(())
}

/// Floods a receiver that does not read, and then reads: what comes of the flood, by its place in it.
/// `before` messages were sent in earlier floods.
async fn flood<S: Stream>(site: &Site, tx: &mut S::Tx, rx: &mut S::Rx, before: u64) -> Result<Vec<u64>> {
    let send = async {
        for number in before..before + FLOOD {
            tx.put(vec![message(number, FLOOD_SIZE)]).await?;
        }
        Ok(())
    };
    site.soon("the sender, who never waits, is done", send).await?;
    let ends = async {
        loop {
            tx.put(vec![message(END, 32)]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all = async {
        let mut came = Vec::new();
        loop {
            match take(rx).await? {
                END => return Ok(came),
                number => {
                    came.push(number.checked_sub(before).context("a message of an earlier flood came")?)
                }
            }
        }
    };
    let read = async {
        tokio::select! {
            biased;
            came = all => came,
            ended = ends => ended,
        }
    };
    site.soon("newer messages come", read).await
}

/// Takes the marks that are still on their way: in the next flood they would fill the buffer.
async fn no_marks<S: Stream>(site: &Site, tx: &mut S::Tx, rx: &mut S::Rx) -> Result<()> {
    let last = async {
        tx.put(vec![message(LAST_MARK, 32)]).await?;
        tx.flush().await?;
        while take(rx).await? != LAST_MARK {}
        Ok(())
    };
    site.soon("the last mark of a flood comes", last).await
}

/// The slow receiver is cut off, learns it, and may come again.
async fn disconnects<S: Stream>(site: Site) -> Result<()> {
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let flood = async {
        for number in 0..LARGE_FLOOD {
            tx.put(vec![message(number, 64 << 10)]).await?;
        }
        tx.put(vec![message(END, 32)]).await?;
        tx.flush().await
    };
    site.soon("the sender, who never waits, is done", flood).await?;
    let cut = async {
        let mut came = 0;
        while let Ok(Some(body)) = rx.get().await {
            let number = number(&body)?;
            ensure!(number != END, "the slow receiver was never cut off: {came} messages came");
            ensure!(number == came, "message {came} was dropped before the receiver was cut off");
            came += 1;
        }
        Ok(())
    };
    site.soon("the slow receiver is cut off", cut).await?;
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let again = async {
        tx.put(vec![message(LARGE_FLOOD, 32)]).await?;
        tx.flush().await?;
        // The end of the flood may still have been on its way to the broker when it joined.
        loop {
            match take(&mut rx).await? {
                LARGE_FLOOD => return Ok(()),
                old => ensure!(old < LARGE_FLOOD || old == END, "message {old} came that nobody had sent"),
            }
        }
    };
    site.soon("a new message comes to the receiver that joined again", again).await
}
