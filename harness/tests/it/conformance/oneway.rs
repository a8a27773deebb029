//! One-way: what every stream owes, and several senders.

use std::marker::PhantomData;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use labs::lab::{Overload, Place};
use labs::oneway::{OneWay, Receiver, Sender};

use super::hostile::{self, Listener};
use super::place::Site;
use super::stream::{self, Rx, Stream, Tx, each_once, message, take};
use super::{Promise, foreign, promises, survival};

const SENDERS: u64 = 4;
const EACH: u64 = 500;

pub(super) fn promises<L: OneWay>() -> Vec<Promise> {
    let mut promises = stream::promises::<Way<L>>("");
    promises.extend(survival::promises::<Way<L>>(""));
    promises.extend(promises![L: senders]);
    promises.extend(foreign::one_way::<L>());
    if hostile::listens::<L>() {
        const LISTENER: Listener = Listener { foreign: b"", socket: b"PUSH" };
        promises.push(Promise::of::<L, _>("hostile", |site| hostile::stream::<Way<L>>(site, LISTENER)));
    }
    if L::OVERLOAD == Overload::Stores {
        promises.extend(promises![L: late]);
    }
    promises
}

pub(super) struct Way<L>(PhantomData<L>);

impl<L: OneWay> Stream for Way<L> {
    type Lab = L;
    type Tx = Out<L::Sender>;
    type Rx = In<L::Receiver>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        let lab = L::open(place).await?;
        let (sender, receiver) = tokio::try_join!(lab.sender(), lab.receiver())?;
        Ok((Out(sender), In(receiver)))
    }
}

pub(super) struct Out<S>(pub(super) S);

impl<S: Sender> Tx for Out<S> {
    async fn put(&mut self, bodies: Vec<Bytes>) -> Result<()> {
        for body in bodies {
            self.0.send(body).await?;
        }
        Ok(())
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

pub(super) struct In<R>(R);

impl<R: Receiver> Rx for In<R> {
    async fn get(&mut self) -> Result<Option<Bytes>> {
        self.0.recv().await
    }
}

/// All of several senders are heard, each in its order.
async fn senders<L: OneWay>(site: Site) -> Result<()> {
    let place = site.place();
    let lab = L::open(&place).await?;
    let joining = try_join_all((0..SENDERS).map(|_| lab.sender()));
    let (senders, receiver) = tokio::try_join!(joining, lab.receiver())?;
    let mut rx = In(receiver);
    let send = try_join_all(senders.into_iter().zip(0..).map(async |(mut sender, who): (_, u64)| {
        for number in 0..EACH {
            sender.send(message(who * EACH + number, 100)).await?;
            if number % 50 == who {
                tokio::task::yield_now().await;
            }
        }
        sender.close().await
    }));
    let receive = async {
        let (mut came, mut last) = (Vec::new(), [None; SENDERS as usize]);
        while (came.len() as u64) < SENDERS * EACH {
            let number = take(&mut rx).await?;
            let last = &mut last[(number / EACH) as usize % SENDERS as usize];
            ensure!(*last < Some(number), "message {number} came after {last:?} of the same sender");
            *last = Some(number);
            came.push(number);
        }
        anyhow::Ok(came)
    };
    let both = async { tokio::try_join!(send, receive) };
    let (_, came) = site.soon("all of every sender comes", both).await?;
    each_once(&came, 0..SENDERS * EACH)
}

/// What is stored waits for a receiver that has not come yet.
async fn late<L: OneWay>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let mut tx = Out(lab.sender().await?);
    tx.put((0..EACH).map(|number| message(number, 32)).collect()).await?;
    tx.flush().await?;
    let mut rx = In(lab.receiver().await?);
    let came = stream::pass::<Way<L>>(&site, &mut tx, &mut rx, Vec::new()).await?;
    each_once(&came, 0..EACH)
}
