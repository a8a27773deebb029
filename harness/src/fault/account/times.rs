//! How long a fault was felt.

use super::deliveries::{Delivery, Response, Span, p99_before, responses, services};
use super::observed::Observed;
use crate::results::{EventKind, FaultTimes};

/// 100 ms: the shortest deadline, the window in which response times are looked at, and how long
/// what was on its way may still arrive after the fault.
pub(super) const WINDOW_NS: u64 = 100_000_000;
/// A deadline is this many times the p99 of response before the fault.
const DEADLINE_FACTOR: u64 = 10;
/// Response times are normal again within this many times their p99 before the fault.
const NORMAL_FACTOR: u64 = 2;

pub(super) fn times(observed: &Observed, deliveries: &[Delivery<'_>], span: Span) -> FaultTimes {
    let responses = responses(observed, deliveries);
    let before = p99_before(&responses, span);
    let (backlog, drain_ns) = backlog(&responses, span);
    FaultTimes {
        detect_ns: detect(observed, &responses, span, before),
        without_service_ns: without_service(&services(deliveries, observed.confirms), span),
        recover_ns: before.and_then(|before| recover(&responses, span, NORMAL_FACTOR * before)),
        backlog,
        drain_ns,
    }
}

fn detect(observed: &Observed, responses: &[Response], span: Span, before: Option<u64>) -> Option<u64> {
    let events = observed.events.iter().filter(|event| {
        matches!(event.what, EventKind::Noticed | EventKind::Failed | EventKind::Reconnected)
    });
    let refused = observed.messages.iter().filter(|message| message.refused);
    let signs =
        events.map(|event| event.at).chain(refused.map(|message| message.sent.unwrap_or(message.due)));
    let deadline = before.map_or(WINDOW_NS, |before| (DEADLINE_FACTOR * before).max(WINDOW_NS));
    let missed = missed(observed, responses, deadline);
    // Later ones than this are late for another reason.
    let missed = missed.filter(|at| *at <= span.healed + 2 * deadline);
    signs.chain(missed).filter(|at| *at >= span.began).min().map(|at| at - span.began)
}

/// When deadlines were missed.
fn missed<'a>(
    observed: &'a Observed,
    responses: &'a [Response],
    deadline: u64,
) -> impl Iterator<Item = u64> + 'a {
    let late = move |due: u64, served: Option<u64>| {
        served.is_none_or(|served| served > due + deadline).then_some(due + deadline)
    };
    let confirmed = observed.messages.iter().map(|message| (message.due, message.confirmed));
    let received = responses.iter().map(|response| (response.due, response.received));
    let all: Box<dyn Iterator<Item = (u64, Option<u64>)>> =
        if observed.confirms { Box::new(confirmed) } else { Box::new(received) };
    all.filter_map(move |(due, served)| late(due, served))
}

fn without_service(services: &[u64], span: Span) -> Option<u64> {
    // It has not come back, or had never been there.
    if services.first().is_none_or(|first| *first > span.began)
        || services.last().is_none_or(|last| *last <= span.healed)
    {
        return None;
    }
    let around = services
        .windows(2)
        .filter(|pair| pair[0] <= span.healed.saturating_add(WINDOW_NS) && pair[1] >= span.began);
    around.map(|pair| pair[1] - pair[0]).max()
}

/// From the fault's end to the first 100 ms whose messages were received within `normal` ns, but for
/// one in a hundred.
fn recover(responses: &[Response], span: Span, normal: u64) -> Option<u64> {
    let last_due = responses.last()?.due;
    let is_slow = |response: &Response| {
        response.received.is_none_or(|received| received.saturating_sub(response.due) > normal)
    };
    // How many before each message were slow.
    let mut slow_before = vec![0_usize];
    for response in responses {
        slow_before.push(slow_before[slow_before.len() - 1] + usize::from(is_slow(response)));
    }
    // It can begin at the fault's end, or after a message.
    let messages = responses.iter().map(|response| response.due + 1);
    let begins = std::iter::once(span.healed).chain(messages.filter(|begin| *begin > span.healed));
    let is_normal = |begin: &u64| {
        let from = responses.partition_point(|response| response.due < *begin);
        let to = responses.partition_point(|response| response.due < begin + WINDOW_NS);
        let (all, slow) = (to - from, slow_before[to] - slow_before[from]);
        all > 0 && slow <= all / 100
    };
    let whole = begins.take_while(|begin| begin + WINDOW_NS <= last_due + 1);
    let mut normal = whole.filter(is_normal);
    normal.next().map(|begin| begin - span.healed)
}

/// The largest backlog, and the time until it was gone.
fn backlog(responses: &[Response], span: Span) -> (Option<u64>, Option<u64>) {
    let mut steps: Vec<(u64, i64)> = Vec::new();
    for response in responses {
        if let Some(received) = response.received {
            steps.extend([(response.due, 1), (received.max(response.due), -1)]);
        }
    }
    // At the same moment, what is due comes first.
    steps.sort_by_key(|(at, change)| (*at, -change));
    let (mut level, mut most_before) = (0, 0);
    let after = steps.partition_point(|(at, _)| *at < span.began);
    for (_, change) in &steps[..after] {
        level += change;
        most_before = most_before.max(level);
    }
    if steps.is_empty() {
        return (None, None);
    }
    let (mut peak, mut peak_at) = (level, span.began);
    let mut levels = Vec::new();
    for (at, change) in &steps[after..] {
        level += change;
        levels.push((*at, level));
        if level > peak {
            (peak, peak_at) = (level, *at);
        }
    }
    let drained = if peak <= most_before {
        Some(0)
    } else {
        let from = peak_at.max(span.healed);
        // At `from` itself it may be small already: what the last step before it left.
        let at_from = levels.iter().rev().find(|(at, _)| *at <= from).map(|(_, level)| (from, *level));
        let later = levels.iter().filter(|(at, _)| *at > from).copied();
        let small = at_from.into_iter().chain(later).find(|(_, level)| *level <= most_before);
        small.map(|(at, _)| at - span.healed)
    };
    (Some(peak as u64), drained)
}
