//! Request/reply, measured: a round trip is from the due time of the request
//! to its reply in hand. The responder echoes.

use anyhow::Result;
use bytes::Bytes;
use labs::lab::Knob;
use labs::reqrep::{RequestReply, Requester, Responder};

use super::context::Stage;
use super::error_budget::Patience;
use super::in_flight::InFlight;
use super::manual;
use super::protocol::Kind;
use crate::measure::clock::{self, Pacer};
use crate::measure::recorder::Progress;
use crate::results::LoadKind;
use labs::erased::{AnyRequester, AnyResponder};

pub(in crate::roles) const IN_FLIGHT: Knob =
    Knob::new("in-flight", 64, "Requests of one requester in flight, in a closed loop.");
/// Requests in flight at a rate: beyond it, what is due waits, and lag shows it.
const IN_FLIGHT_OPEN: usize = 10_000;

pub(super) async fn run<L: RequestReply>(stage: Stage) -> Result<()> {
    let lab = L::open(&stage.place).await?;
    match (stage.init.kind, stage.init.measure.is_some()) {
        (Kind::Requester, true) => ask(&stage, lab.requester().await?).await,
        (Kind::Requester, false) => manual::requester(stage, AnyRequester::new(lab.requester().await?)).await,
        (_, true) => answer(&stage, lab.responder().await?).await,
        (_, false) => manual::responder(stage, AnyResponder::new(lab.responder().await?)).await,
    }
}

async fn ask(stage: &Stage, requester: impl Requester) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let measure = stage.measure()?;
    let (mut ledger, mut books) = (stage.ledger(window)?, stage.books(Progress::Count, window)?);
    let mut schedule = stage.schedule()?;
    let limit = match measure.load.kind {
        LoadKind::Rate => IN_FLIGHT_OPEN,
        _ => {
            let limit = stage.knob(IN_FLIGHT);
            measure.window.map_or(limit, |window| limit.min(usize::try_from(window).unwrap_or(limit)))
        }
    };
    let pacer = Pacer::new()?;
    pacer.sleep_until(window.start).await?;
    let mut due = schedule.as_mut().and_then(Iterator::next).map(|first| window.start + first);
    let mut patience = Patience::new();
    let mut in_flight = InFlight::new();
    let mut stop = std::pin::pin!(stage.stop());
    let mut told = false;
    loop {
        // Everything that is due and fits is asked before anything is awaited.
        loop {
            let now = ledger.now();
            let scheduled = due.unwrap_or(now);
            if scheduled > now || scheduled >= window.to || in_flight.len() >= limit.max(1) {
                break;
            }
            let (sequence, body) = ledger.next(scheduled, now)?;
            in_flight.add(one(&requester, sequence, body));
            due = schedule.as_mut().and_then(Iterator::next).map(|next| window.start + next);
        }
        let ended = due.unwrap_or_else(clock::now) >= window.to;
        if ended && in_flight.len() == 0 && !std::mem::replace(&mut told, true) {
            ledger.done();
            stage.done(ledger.sent());
        }
        let wake = due.unwrap_or(window.to);
        tokio::select! {
            biased;
            Some((sequence, request, reply)) = in_flight.next() => {
                if in_flight.has_waited() {
                    ledger.look_again();
                    books.look_again();
                }
                match reply {
                    Ok(reply) => {
                        patience.good();
                        if reply == request { books.take(&reply, false); } else { books.misroute(); }
                    }
                    Err(error) => {
                        ledger.refuse(sequence);
                        patience.bad(error)?;
                    }
                }
            }
            slept = pacer.sleep_until(wake), if !ended && in_flight.len() < limit => {
                // A closed loop's end is no message's time.
                let late = slept?.filter(|_| due == Some(wake));
                ledger.woke(wake, late);
            }
            () = &mut stop => break,
        }
    }
    // What is still in flight is abandoned, and so lost: the account says so.
    drop(in_flight);
    stage.report(Some(ledger), Some(books), meter).await
}

async fn one(requester: &impl Requester, sequence: u64, body: Bytes) -> (u64, Bytes, Result<Bytes>) {
    let reply = requester.ask(body.clone().into()).await.map(|reply| reply.0);
    (sequence, body, reply)
}

async fn answer(stage: &Stage, mut responder: impl Responder) -> Result<()> {
    stage.ready();
    let window = stage.go().await?;
    let meter = stage.meter(window)?;
    let mut stop = std::pin::pin!(stage.stop());
    loop {
        tokio::select! {
            biased;
            request = responder.next() => match request? {
                Some((request, to)) => responder.reply(to, request.0.into()).await?,
                None => break stop.await,
            },
            () = &mut stop => break,
        }
    }
    stage.report(None, None, meter).await
}
