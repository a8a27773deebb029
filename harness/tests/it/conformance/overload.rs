//! What a lab's `OVERLOAD` says is what happens when nobody reads.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Result, ensure};
use labs::lab::{Lab, Overload};

use super::place::Site;
use super::stream::{END, Rx as _, Stream, Tx as _, each_once, message, number, pass, take_all};

/// More than any bounded buffer on the way may hold, of messages of this size.
const TOO_MANY: u64 = 30_000;
const SIZE: usize = 8 << 10;
/// A sender that got nothing off its hands for so long is taken to wait. On a
/// slow machine it may only have been slow: then less is shown, and no test fails.
const STILL: Duration = Duration::from_millis(400);

/// Messages that are stored while nobody reads.
const STORED: u64 = 20_000;
/// What a lab that drops gets, small ones, and one that disconnects, large ones.
const FLOOD: u64 = 200_000;
const LARGE_FLOOD: u64 = 1_500;

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
        tx.put((0..STORED).map(|number| message(number, 32)).collect()).await?;
        tx.flush().await
    };
    site.soon("all is stored while nobody reads", store).await?;
    let came = pass::<S>(&site, &mut tx, &mut rx, Vec::new()).await?;
    each_once(&came, 0..STORED)
}

/// The sender never waits; the slow receiver misses some and goes on with newer ones.
async fn drops<S: Stream>(site: Site) -> Result<()> {
    let site = site.with(&[("high-water", 10_000)]);
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let flood = async {
        for number in 0..FLOOD {
            tx.put(vec![message(number, 512)]).await?;
        }
        Ok(())
    };
    site.soon("the sender, who never waits, is done", flood).await?;
    let ends = async {
        loop {
            tx.put(vec![message(END, 32)]).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let read = async {
        tokio::select! {
            biased;
            came = take_all(&mut rx) => came,
            ended = ends => ended,
        }
    };
    let came = site.soon("newer messages come", read).await?;
    ensure!((came.len() as u64) < FLOOD, "all {FLOOD} messages came: nothing was dropped");
    ensure!(came.windows(2).all(|pair| pair[0] < pair[1]), "what was not dropped came out of order");
    Ok(())
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
            ensure!(number(&body)? != END, "the slow receiver was never cut off: {came} messages came");
            came += 1;
        }
        Ok(())
    };
    site.soon("the slow receiver is cut off", cut).await?;
    let (mut tx, mut rx) = S::join(&site.place()).await?;
    let came = pass::<S>(&site, &mut tx, &mut rx, vec![message(1, 32)]).await?;
    each_once(&came, 1..2)
}
