//! The measured loops of one-way: senders offer the load, one receiver receives it.

use anyhow::Result;
use futures_util::FutureExt;
use labs::oneway::{OneWay, Receiver, Sender};

use super::adapters::{SenderSink, lossy};
use super::context::RoleContext;
use super::in_flight_window::InFlightWindow;
use super::manual;
use super::protocol::Kind;
use super::send_loop;
use crate::measure::recorder::{Progress, Recording};
use labs::erased::{AnyReceiver, AnySender};

pub(super) async fn run<L: OneWay, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Sender, true) => send::<L, R>(&context, lab.sender().await?).await,
        (Kind::Sender, false) => manual::sender(context, AnySender::new(lab.sender().await?)).await,
        (_, true) => receive::<R>(&context, lab.receiver().await?).await,
        (_, false) => manual::receiver(context, AnyReceiver::new(lab.receiver().await?)).await,
    }
}

async fn send<L: OneWay, R: Recording>(context: &RoleContext, sender: L::Sender) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let mut in_flight_window =
        InFlightWindow::open(context, &["receiver-0".to_owned()], Progress::Highest, lossy::<L>())?;
    let mut sends = context.sender_recorder::<R>(window)?;
    let mut sink = SenderSink { sender, confirms: false };
    send_loop::drive(context, &mut sink, &mut sends, &mut in_flight_window, window).await?;
    send_loop::mark(context, &mut sink, &mut sends).await?;
    sink.sender.close().await?;
    context.report(Some((sends, in_flight_window.cost())), None, meter).await
}

async fn receive<R: Recording>(context: &RoleContext, mut receiver: impl Receiver) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let mut receipts = context.receiver_recorder::<R>(Progress::Highest, window)?;
    let mut stop = std::pin::pin!(context.stop());
    loop {
        // Under load the next message is there already: nothing to select from.
        let body = match receiver.recv().now_or_never() {
            Some(body) => body?,
            None => tokio::select! {
                biased;
                body = receiver.recv() => {
                    receipts.refresh_clock();
                    body?
                }
                () = &mut stop => break,
            },
        };
        let Some(body) = body else {
            if RoleContext::await_newcomers(&mut stop).await {
                continue;
            }
            break;
        };
        receipts.take(&body, false);
    }
    context.report(None, Some(receipts), meter).await
}
