//! Whether a lab kept its promise.

use std::collections::{BTreeMap, BTreeSet};

use labs::lab::Guarantee;

use super::deliveries::{Delivery, Fate, Span, p99_before, responses, services};
use super::observed::Observed;
use super::times::WINDOW_NS;
use super::witness::witness;
use crate::fault::{Covered, Fault, What, Who};
use crate::results::{EventKind, Verdict, Witness};

/// Fewer services than this, before or after the fault, say nothing.
const FEWEST: usize = 20;

/// A verdict with its reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) why: String,
    pub(super) witness: Option<Witness>,
}

impl Judged {
    fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        Self { verdict, why: why.into(), witness: None }
    }

    fn broke(observed: &Observed, delivery: &Delivery<'_>, why: String) -> Self {
        let witness = Some(witness(observed, delivery, why.clone()));
        Self { verdict: Verdict::Broke, why, witness }
    }
}

pub(super) fn judge(observed: &Observed, deliveries: &[Delivery<'_>], span: Option<Span>) -> Judged {
    if let Covered::No(reason) = &observed.covered {
        return Judged::new(Verdict::NotPromised, reason.clone());
    }
    let Some(span) = span else { return Judged::new(Verdict::CannotTell, "no fault was injected") };
    let found = match observed.guarantee {
        Guarantee::AtMostOnce => at_most_once(observed, deliveries, span),
        Guarantee::AtLeastOnce | Guarantee::Durable => at_least_once(observed, deliveries),
    };
    found.or_else(|| too_little(observed, deliveries, span)).unwrap_or_else(|| {
        let kept = match observed.guarantee {
            Guarantee::AtMostOnce => not_rejoined(observed, deliveries, span),
            Guarantee::AtLeastOnce | Guarantee::Durable => None,
        };
        kept.unwrap_or_else(|| Judged::new(Verdict::Kept, kept_what(observed.guarantee)))
    })
}

const fn kept_what(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::AtMostOnce => "messages came again, none came twice, and losses lie in the fault's window",
        Guarantee::AtLeastOnce | Guarantee::Durable => "no confirmed message was lost",
    }
}

/// A broken promise, or that it cannot be told from what is unaccounted for.
fn at_least_once(observed: &Observed, deliveries: &[Delivery<'_>]) -> Option<Judged> {
    let fates = || deliveries.iter().map(|delivery| (delivery, delivery.fate(observed.drained)));
    let lost = || fates().filter(|(_, fate)| matches!(fate, Fate::Lost(Some(_))));
    if let Some((first, _)) = lost().min_by_key(|(delivery, _)| delivery.message.due) {
        let why = format!("{} confirmed and never received", messages(lost().count()));
        return Some(Judged::broke(observed, first, why));
    }
    let doubtful = fates()
        .filter(|(delivery, fate)| *fate == Fate::Unaccounted && delivery.message.confirmed.is_some())
        .count();
    (doubtful > 0).then(|| {
        let why = format!(
            "{} confirmed and not received when the drain ended: perhaps lost, perhaps still stored",
            messages(doubtful)
        );
        Judged::new(Verdict::CannotTell, why + &failures(observed))
    })
}

/// What was received twice or lost outside of the window, and roles that ended.
fn at_most_once(observed: &Observed, deliveries: &[Delivery<'_>], span: Span) -> Option<Judged> {
    let twice = || deliveries.iter().filter(|delivery| delivery.receipts.len() > 1);
    if let Some(first) = twice().min_by_key(|delivery| delivery.message.due) {
        return Some(Judged::broke(
            observed,
            first,
            format!("{} received more than once", messages(twice().count())),
        ));
    }
    let window = Window::of(observed, deliveries, span);
    let outside = |fate: fn(&Fate) -> bool| {
        let missing = deliveries.iter().filter(move |delivery| fate(&delivery.fate(observed.drained)));
        missing.filter(|delivery| !window.covers(delivery)).collect::<Vec<_>>()
    };
    let lost = outside(|fate| matches!(fate, Fate::Lost(_)));
    if let Some(first) = lost.iter().min_by_key(|delivery| delivery.message.due) {
        let why = format!(
            "{} lost that the fault does not excuse: sent before it, or after service was back",
            messages(lost.len())
        );
        return Some(Judged::broke(observed, first, why));
    }
    if !observed.failures.is_empty() {
        // The first message after the fault that was not received; if there is none, the last message.
        let missing = deliveries.iter().filter(|delivery| delivery.receipts.is_empty());
        let first = missing.min_by_key(|delivery| (delivery.message.due < span.healed, delivery.message.due));
        let why = format!("not every role came back{}", failures(observed));
        return Some(match first.or(deliveries.last()) {
            Some(delivery) => Judged::broke(observed, delivery, why),
            None => Judged::new(Verdict::CannotTell, why),
        });
    }
    let doubtful = outside(|fate| *fate == Fate::Unaccounted).len();
    (doubtful > 0).then(|| {
        let why =
            format!("{} outside of the fault's window not received when the drain ended", messages(doubtful));
        Judged::new(Verdict::CannotTell, why)
    })
}

/// Whether there was too little service to say anything.
fn too_little(observed: &Observed, deliveries: &[Delivery<'_>], span: Span) -> Option<Judged> {
    let confirmations = observed.confirms && observed.guarantee != Guarantee::AtMostOnce;
    let word = if confirmations { "confirmed" } else { "received" };
    let services = services(deliveries, confirmations);
    let before = services.partition_point(|at| *at < span.began);
    let after = services.len() - services.partition_point(|at| *at < span.healed);
    let cannot = |why: String| Some(Judged::new(Verdict::CannotTell, why + &failures(observed)));
    if before < FEWEST {
        return cannot(format!("only {} {word} before the fault; {FEWEST} are needed", messages(before)));
    }
    // Where the only sender is killed, nobody is left to ask anything of the lab: what was confirmed
    // before is what the promise is about.
    if observed.guarantee != Guarantee::AtMostOnce && no_sender_is_left(observed, span) {
        return None;
    }
    if services.len() == before {
        return cannot(format!("nothing was {word} during or after the fault"));
    }
    if after < FEWEST {
        return cannot(format!("only {} {word} after the fault; {FEWEST} are needed", messages(after)));
    }
    None
}

fn no_sender_is_left(observed: &Observed, span: Span) -> bool {
    let killed = observed
        .injections
        .iter()
        .any(|injected| injected.fault.parse() == Ok(Fault { who: Who::Sender, what: What::Kill }));
    killed && !observed.messages.iter().any(|message| message.sent.is_some_and(|sent| sent > span.healed))
}

/// A subscriber that gets nothing of what was sent after the fault; all receivers, for other patterns.
fn not_rejoined(observed: &Observed, deliveries: &[Delivery<'_>], span: Span) -> Option<Judged> {
    let later = || {
        let sent_later =
            |delivery: &&Delivery<'_>| delivery.message.sent.is_some_and(|sent| sent >= span.healed);
        let expected = |delivery: &&Delivery<'_>| delivery.to.is_none_or(|to| !observed.gone.contains(&to));
        deliveries.iter().filter(sent_later).filter(expected)
    };
    let rejoined: BTreeSet<Option<u32>> =
        later().filter(|delivery| !delivery.receipts.is_empty()).map(|delivery| delivery.to).collect();
    let missed = later().filter(|delivery| !rejoined.contains(&delivery.to));
    let first = missed.min_by_key(|delivery| delivery.message.due);
    if let Some(first) = first {
        let who = first.to.map_or_else(String::new, |to| format!(" by subscriber {to}"));
        let why = format!("nothing was received{who} that was sent after the fault");
        return Some(Judged::broke(observed, first, why));
    }
    later().next().is_none().then(|| Judged::new(Verdict::CannotTell, "nothing was sent after the fault"))
}

/// When losses are excused.
struct Window {
    from: u64,
    /// When the last role had connected again.
    reconnected: u64,
    /// For each sender and subscriber, when the first message was received that was sent after the fault.
    back: BTreeMap<(u32, Option<u32>), u64>,
}

impl Window {
    fn of(observed: &Observed, deliveries: &[Delivery<'_>], span: Span) -> Self {
        let before = p99_before(&responses(observed, deliveries), span).unwrap_or_default();
        let in_flight = (2 * before).max(WINDOW_NS);
        let connected = observed
            .events
            .iter()
            .filter(|event| matches!(event.what, EventKind::Reconnected | EventKind::StartedAgain));
        let mut back: BTreeMap<(u32, Option<u32>), u64> = BTreeMap::new();
        for delivery in deliveries {
            let sent = delivery.message.sent.is_some_and(|sent| sent >= span.healed);
            if let (true, Some(first)) = (sent, delivery.first()) {
                let known = back.entry((delivery.message.producer, delivery.to)).or_insert(first);
                *known = first.min(*known);
            }
        }
        Self {
            from: span.began.saturating_sub(in_flight),
            reconnected: connected.map(|event| event.at).max().unwrap_or_default().max(span.healed),
            back,
        }
    }

    /// Whether a loss is excused. Where service never came back, the window has no end.
    fn covers(&self, delivery: &Delivery<'_>) -> bool {
        let message = delivery.message;
        let sent = message.sent.unwrap_or(message.due);
        let back = self.back.get(&(message.producer, delivery.to)).copied().unwrap_or(u64::MAX);
        (self.from..=back.max(self.reconnected)).contains(&sent)
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message was".to_owned() } else { format!("{count} messages were") }
}

/// The roles that ended, to be put after a reason.
fn failures(observed: &Observed) -> String {
    let each = observed.failures.iter().map(|(role, error)| format!("; {role} ended: {error}"));
    each.collect()
}
