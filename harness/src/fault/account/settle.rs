//! The whole account.

use super::counts::{counts, series};
use super::deliveries::{Span, deliveries};
use super::observed::{Account, Observed};
use super::record::record;
use super::times::times;
use super::verdict::judge;
use crate::results::FaultTimes;

/// What is to be said of a run.
pub fn account(observed: &Observed) -> Account {
    let deliveries = deliveries(observed);
    let span = Span::of(observed);
    let judged = judge(observed, &deliveries, span);
    let mut events = observed.events.clone();
    events.sort_by_key(|event| event.at);
    Account {
        times: span.map_or(FaultTimes::default(), |span| times(observed, &deliveries, span)),
        counts: counts(observed, &deliveries, span),
        series: series(observed),
        verdict: judged.verdict,
        why: judged.why,
        witness: judged.witness,
        messages: record(&observed.messages, span),
        events,
    }
}
