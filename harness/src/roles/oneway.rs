//! One-way, measured: senders offer the load, one receiver takes it.

use anyhow::Result;
use futures_util::FutureExt;
use labs::oneway::{OneWay, Receiver, Sender};

use super::adapters::{Way, lossy};
use super::context::Stage;
use super::manual;
use super::protocol::Kind;
use super::send_loop::{self, Room};
use crate::measure::recorder::Progress;
use labs::erased::{AnyReceiver, AnySender};

pub(super) async fn run<L: OneWay>(stage: Stage) -> Result<()> {
    let lab = L::open(&stage.place).await?;
    match (stage.init.kind, stage.init.measure.is_some()) {
        (Kind::Sender, true) => send::<L>(&stage, lab.sender().await?).await,
        (Kind::Sender, false) => manual::sender(stage, AnySender::new(lab.sender().await?)).await,
        (_, true) => receive(&stage, lab.receiver().await?).await,
        (_, false) => manual::receiver(stage, AnyReceiver::new(lab.receiver().await?)).await,
    }
}

async fn send<L: OneWay>(stage: &Stage, sender: L::Sender) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let room = Room::open(stage, &["receiver-0".to_owned()], Progress::Highest, lossy::<L>())?;
    let mut ledger = stage.ledger(window)?;
    let mut outlet = Way(sender);
    send_loop::drive(stage, &mut outlet, &mut ledger, room, window).await?;
    send_loop::mark(stage, &mut outlet, &mut ledger).await?;
    outlet.0.close().await?;
    stage.report(Some(ledger), None, meter).await
}

async fn receive(stage: &Stage, mut receiver: impl Receiver) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let mut books = stage.books(Progress::Highest, window)?;
    let mut stop = std::pin::pin!(stage.stop());
    loop {
        // Under load the next message is there already: nothing to select from.
        let body = match receiver.recv().now_or_never() {
            Some(body) => body?,
            None => tokio::select! {
                biased;
                body = receiver.recv() => {
                    books.look_again();
                    body?
                }
                () = &mut stop => break,
            },
        };
        let Some(body) = body else { break stop.await };
        books.take(&body, false);
    }
    stage.report(None, Some(books), meter).await
}
