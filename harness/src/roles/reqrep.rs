//! The measured loops of request/reply: a round trip lasts from the due time of the
//! request until its reply is received. The responder echoes.

use anyhow::Result;
use bytes::Bytes;
use labs::lab::Knob;
use labs::reqrep::{RequestReply, Requester, Responder};

use super::context::RoleContext;
use super::error_budget::ErrorBudget;
use super::in_flight::InFlight;
use super::manual;
use super::protocol::Kind;
use crate::measure::clock::{self, Pacer};
use crate::measure::recorder::{Progress, Recording};
use crate::results::LoadKind;
use labs::erased::{AnyRequester, AnyResponder};

pub(in crate::roles) const IN_FLIGHT: Knob =
    Knob::new("in-flight", 64, "Requests of one requester in flight, in a closed loop.");
/// Requests in flight at a rate: beyond it, due requests wait, and lag shows it.
const IN_FLIGHT_OPEN: usize = 10_000;

pub(super) async fn run<L: RequestReply, R: Recording>(context: RoleContext) -> Result<()> {
    let lab = L::open(&context.place).await?;
    match (context.init.kind, context.init.measure.is_some()) {
        (Kind::Requester, true) => ask::<R>(&context, lab.requester().await?).await,
        (Kind::Requester, false) => {
            manual::requester(context, AnyRequester::new(lab.requester().await?)).await
        }
        (_, true) => answer::<R>(&context, lab.responder().await?).await,
        (_, false) => manual::responder(context, AnyResponder::new(lab.responder().await?)).await,
    }
}

async fn ask<R: Recording>(context: &RoleContext, requester: impl Requester) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let measure = context.measure()?;
    let (mut sends, mut receipts) =
        (context.sender_recorder::<R>(window)?, context.receiver_recorder::<R>(Progress::Count, window)?);
    let mut schedule = context.schedule(sends.sent())?;
    let limit = match measure.load.kind {
        LoadKind::Rate => IN_FLIGHT_OPEN,
        _ => {
            let limit = context.knob(IN_FLIGHT);
            measure.window.map_or(limit, |window| limit.min(usize::try_from(window).unwrap_or(limit)))
        }
    };
    let pacer = Pacer::new()?;
    pacer.sleep_until(window.start).await?;
    let mut due = schedule.as_mut().and_then(Iterator::next).map(|first| window.start + first);
    let mut error_budget = ErrorBudget::new();
    let mut in_flight = InFlight::new();
    let mut stop = std::pin::pin!(context.stop());
    let mut told = false;
    loop {
        // Everything that is due and fits is asked before anything is awaited.
        loop {
            let now = sends.now();
            let scheduled = due.unwrap_or(now);
            if scheduled > now || scheduled >= window.to || in_flight.len() >= limit.max(1) {
                break;
            }
            let (sequence, body) = sends.next(scheduled, now)?;
            in_flight.add(one(&requester, sequence, body));
            due = schedule.as_mut().and_then(Iterator::next).map(|next| window.start + next);
        }
        let ended = due.unwrap_or_else(clock::now) >= window.to;
        if ended && in_flight.len() == 0 && !std::mem::replace(&mut told, true) {
            sends.done();
            context.done(sends.sent());
        }
        let wake = due.unwrap_or(window.to);
        tokio::select! {
            biased;
            Some((sequence, request, reply)) = in_flight.next() => {
                if in_flight.has_waited() {
                    sends.refresh_clock();
                    receipts.refresh_clock();
                }
                match reply {
                    Ok(reply) => {
                        error_budget.success();
                        if reply == request { receipts.take(&reply, false); } else { receipts.misroute(); }
                    }
                    Err(error) => {
                        sends.refuse(sequence);
                        error_budget.failure(error)?;
                    }
                }
            }
            slept = pacer.sleep_until(wake), if !ended && in_flight.len() < limit => {
                // Waiting for the end of a closed loop is not part of a message's time.
                let late = slept?.filter(|_| due == Some(wake));
                sends.woke(wake, late);
            }
            () = &mut stop => break,
        }
    }
    // Requests still in flight are abandoned and therefore lost, and the account shows them so.
    drop(in_flight);
    context.report(Some((sends, 0)), Some(receipts), meter).await
}

async fn one(requester: &impl Requester, sequence: u64, body: Bytes) -> (u64, Bytes, Result<Bytes>) {
    let reply = requester.ask(body.clone().into()).await.map(|reply| reply.0);
    (sequence, body, reply)
}

async fn answer<R: Recording>(context: &RoleContext, mut responder: impl Responder) -> Result<()> {
    context.ready();
    let window = context.go().await?;
    let meter = context.meter(window)?;
    let mut stop = std::pin::pin!(context.stop());
    loop {
        tokio::select! {
            biased;
            request = responder.next() => match request? {
                Some((request, to)) => responder.reply(to, request.0.into()).await?,
                None if RoleContext::await_newcomers(&mut stop).await => {}
                None => break,
            },
            () = &mut stop => break,
        }
    }
    context.report::<R>(None, None, meter).await
}
