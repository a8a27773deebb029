//! Random fates, and the same figures computed in the simplest way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::results::FaultCounts;

fn receipt() -> impl Strategy<Value = Received> {
    (0..2_u32, 0..60_u64, any::<bool>()).prop_map(|(receiver, at, marked)| Received {
        receiver,
        at: at * 10 * MS,
        marked,
        acked: None,
    })
}

fn fate() -> impl Strategy<Value = MessageFate> {
    let sent = prop::option::weighted(0.9, 0..5_u64);
    let confirmed = prop::option::weighted(0.7, 0..9_u64);
    let receipts = prop::collection::vec(receipt(), 0..4);
    (0..50_u64, sent, confirmed, receipts, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(due, sent, confirmed, receipts, refused, indeterminate)| MessageFate {
            due: due * 10 * MS,
            sent: sent.map(|lag| (due * 10 + lag) * MS),
            confirmed: sent.and(confirmed).map(|later| (due * 10 + 10 * later) * MS),
            refused,
            indeterminate,
            receipts,
            ..MessageFate::default()
        },
    )
}

prop_compose! {
    fn observed()(
        guarantee in prop::sample::select(vec![AtMostOnce, AtLeastOnce, Durable]),
        pattern in prop::sample::select(Pattern::ALL.to_vec()),
        confirms in any::<bool>(),
        drained in prop::bool::weighted(0.7),
        gone in prop::collection::vec(1..2_u32, 0..2),
        began in 0..50_u64,
        length in 0..20_u64,
        mut messages in prop::collection::vec(fate(), 0..60),
    ) -> Observed {
        for (n, message) in messages.iter_mut().enumerate() {
            (message.producer, message.sequence) = (n as u32 % 2, n as u64 / 2);
        }
        let injections = vec![injected("link-cut", began * 10 * MS, (began + length) * 10 * MS)];
        let receivers = 2;
        Observed {
            guarantee, pattern, confirms, covered: Covered::Yes, receivers, gone, injections, messages,
            events: Vec::new(), failures: Vec::new(), drained,
        }
    }
}

/// When a message was received, by whom, and whether it was marked.
type Receipts = Vec<(u64, u32, bool)>;

/// One message and one of those who expect it, with the times at which they have it.
fn expected(observed: &Observed) -> Vec<(&MessageFate, Receipts)> {
    let mut all = Vec::new();
    for message in &observed.messages {
        let mut groups: Vec<Vec<u32>> = vec![vec![0, 1]];
        if observed.pattern.is_fan_out() {
            groups = vec![vec![0], vec![1]];
        }
        for group in groups {
            let own = message.receipts.iter().filter(|received| group.contains(&received.receiver));
            let mut own: Receipts =
                own.map(|received| (received.at, received.receiver, received.marked)).collect();
            own.sort_by_key(|(at, ..)| *at);
            if group.len() == 1 && observed.gone.contains(&group[0]) && own.is_empty() {
                continue;
            }
            all.push((message, own));
        }
    }
    all
}

fn counts(observed: &Observed) -> FaultCounts {
    let mut counts = FaultCounts::default();
    let injected = &observed.injections[0];
    for message in &observed.messages {
        counts.sent += u64::from(message.sent.is_some());
        counts.confirmed += u64::from(message.confirmed.is_some());
        counts.refused += u64::from(message.refused);
    }
    let expected = expected(observed);
    for (message, receipts) in &expected {
        if let [_, again @ ..] = &receipts[..] {
            counts.received += 1;
            counts.duplicated += again.len() as u64;
            counts.duplicated_marked += again.iter().filter(|(_, _, marked)| *marked).count() as u64;
        } else if message.refused || (message.sent.is_none() && message.confirmed.is_none()) {
        } else if message.confirmed.is_none() && message.indeterminate {
            counts.indeterminate += 1;
        } else if !observed.drained {
            counts.unaccounted += 1;
        } else if let Some(confirmed) = message.confirmed {
            let lost = &mut counts.confirmed_lost;
            if confirmed < injected.began_ns {
                lost.beginning += 1;
            } else if confirmed <= injected.healed_ns {
                lost.middle += 1;
            } else {
                lost.end += 1;
            }
        } else {
            counts.unconfirmed_lost += 1;
        }
        // Overtaken: somebody had a later one of the sender before, as its first receipt.
        if let Some((at, receiver, _)) = receipts.first() {
            let overtaken = expected.iter().any(|(other, receipts)| {
                let later = other.producer == message.producer && other.sequence > message.sequence;
                later && receipts.first().is_some_and(|(a, r, _)| a < at && r == receiver)
            });
            counts.reordered += u64::from(overtaken);
        }
    }
    counts
}

/// Messages due and not yet received at a moment, of those that everybody received who expects it.
fn backlog_at(observed: &Observed, now: u64) -> u64 {
    let expected = expected(observed);
    let is_open = |message: &&MessageFate| {
        let own = || expected.iter().filter(|(other, _)| std::ptr::eq(*other, *message));
        let still = |receipts: &Receipts| {
            receipts.first().is_some_and(|(_, receiver, _)| {
                !observed.pattern.is_fan_out() || !observed.gone.contains(receiver)
            })
        };
        let wanted = own().filter(|(_, receipts)| receipts.is_empty() || still(receipts));
        let firsts: Vec<Option<u64>> =
            wanted.map(|(_, receipts)| receipts.first().map(|first| first.0)).collect();
        let all: Option<Vec<u64>> = firsts.into_iter().collect();
        // In the middle between two ticks nothing happens.
        all.filter(|all| !all.is_empty() && *all != [0])
            .is_some_and(|all| message.due <= now && all.iter().max().is_some_and(|last| *last > now))
    };
    observed.messages.iter().filter(is_open).count() as u64
}

/// From due to received by all who expect it.
fn response(observed: &Observed, message: &MessageFate) -> Option<u64> {
    let expects = |receiver: &u32| !observed.pattern.is_fan_out() || !observed.gone.contains(receiver);
    let at = |receiver: u32| {
        let own = message.receipts.iter().filter(|received| received.receiver == receiver);
        own.map(|received| received.at).min()
    };
    let receivers = [0, 1].into_iter().filter(expects);
    let last = match observed.pattern.is_fan_out() {
        true => receivers.map(at).collect::<Option<Vec<u64>>>()?.into_iter().max(),
        false => receivers.filter_map(at).min(),
    };
    last.filter(|at| *at > 0).map(|at| at.saturating_sub(message.due))
}

/// Every begin of a window is looked at on its own.
fn recover(observed: &Observed) -> Option<u64> {
    let (began, healed) = (observed.injections[0].began_ns, observed.injections[0].healed_ns);
    let p99 = |mut times: Vec<u64>| {
        times.sort_unstable();
        times.get((times.len() * 99).div_ceil(100).checked_sub(1)?).copied()
    };
    let messages = || observed.messages.iter();
    let before = messages().filter(|message| message.due < began).filter_map(|message| {
        let response = response(observed, message)?;
        (message.due + response < began).then_some(response)
    });
    let normal = 2 * p99(before.collect())?;
    let last_due = messages().map(|message| message.due).max()?;
    let mut begins: Vec<u64> =
        messages().map(|message| message.due + 1).filter(|begin| *begin > healed).collect();
    begins.push(healed);
    begins.sort_unstable();
    let is_normal = |begin: &u64| {
        let window = *begin..*begin + 100 * MS;
        let inside = messages().filter(|message| window.contains(&message.due));
        let times = inside.map(|message| response(observed, message).unwrap_or(u64::MAX)).collect();
        *begin + 100 * MS <= last_due + 1 && p99(times).is_some_and(|p99| p99 <= normal)
    };
    begins.into_iter().find(is_normal).map(|begin| begin - healed)
}

fn check(observed: &Observed) {
    let account = account(observed);
    assert_eq!(account.counts, counts(observed));
    let (began, healed) = (observed.injections[0].began_ns, observed.injections[0].healed_ns);
    // Service: every pair of neighbours, looked at on its own.
    let mut services: Vec<u64> = if observed.confirms {
        observed.messages.iter().filter_map(|message| message.confirmed).collect()
    } else {
        expected(observed).iter().flat_map(|(_, receipts)| receipts).map(|(at, ..)| *at).collect()
    };
    services.sort_unstable();
    let was = services.iter().any(|at| *at <= began);
    let back = services.iter().any(|at| *at > healed);
    let mut longest = None;
    for (n, from) in services.iter().enumerate() {
        let Some(to) = services.get(n + 1) else { continue };
        if *from <= healed + 100 * MS && *to >= began && was && back {
            longest = longest.max(Some(to - from));
        }
    }
    assert_eq!(account.times.without_service_ns, longest);
    // The backlog, between all moments at which anything happens.
    if let Some(backlog) = account.times.backlog {
        let most = (0..120)
            .map(|n| n * 10 * MS + 1)
            .filter(|now| *now >= began)
            .map(|now| backlog_at(observed, now));
        assert!(most.max().unwrap_or_default() <= backlog);
    }
    assert_eq!(account.times.recover_ns, recover(observed));
    // Verdicts.
    let lost = account.counts.confirmed_lost.total() > 0;
    match observed.guarantee {
        AtMostOnce => {
            let twice = account.counts.duplicated > 0;
            assert!(!twice || account.verdict == Broke, "{}", account.why);
        }
        AtLeastOnce | Durable => assert_eq!(account.verdict == Broke, lost, "{}", account.why),
    }
    assert_ne!(account.verdict, NotPromised);
    assert!(!account.why.is_empty());
    let record: BTreeSet<(u32, u64)> =
        account.messages.iter().map(|message| (message.producer, message.sequence)).collect();
    assert_eq!(record.len(), observed.messages.len().min(MOST_MESSAGES));
    if let Some(witness) = account.witness {
        assert!(observed.messages.contains(&witness.message));
        assert!(witness.steps.is_sorted_by_key(|step| step.at));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn figures_are_those_of_the_simplest_computation(observed in observed()) {
        check(&observed);
    }
}
