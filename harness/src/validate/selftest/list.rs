//! The list of checks, in reading order.
//!
//! Every check compares every count and every percentile with the transport's event log.
//! The figures listed here beside the faults are those that a check is about.

use labs::catalog::Pattern;

use super::check::{Check, Known, SUSTAINED, Times};
use super::fault::{Faults, Harm, Pause, Step};
use crate::results::{Arrivals, Flag, Load, LoadKind};

/// Every check, in reading order.
pub fn all() -> Vec<Check> {
    [perfect(), arrivals(), times(), counts(), clocks(), overload(), crowds(), patterns()]
        .into_iter()
        .flatten()
        .collect()
}

const ACCOUNT: &[&str] = &["sent", "received"];

/// A perfect transport: zeros everywhere, and everything that was sent.
fn perfect() -> Vec<Check> {
    let of = |name, pattern| Check::of(name, pattern, "no fault", ACCOUNT);
    let rate = |check: Check| Check { known: &[Known::Throughput(2_000.0)], ..check };
    vec![
        rate(of("perfect-oneway", Pattern::OneWay).role_counts(2, 1)),
        of("perfect-reqrep", Pattern::RequestReply).role_counts(2, 2),
        of("perfect-pubsub", Pattern::PubSub).role_counts(2, 2),
        of("perfect-pipeline", Pattern::Pipeline).role_counts(1, 2),
        of("perfect-queue", Pattern::Queue).role_counts(2, 2),
        of("perfect-durable", Pattern::Durable).role_counts(1, 2),
        Check {
            load: Load::max(),
            window: Some(256),
            seconds: 0.2,
            ..of("perfect-flat-out", Pattern::OneWay)
        },
    ]
}

/// Loads that are not offered at equal gaps.
fn arrivals() -> Vec<Check> {
    let of = |name, about, headline| Check::of(name, Pattern::OneWay, about, headline);
    vec![
        Check {
            load: Load::rate(10_000.0, Arrivals::Poisson),
            seconds: 1.2,
            // Gaps of a Poisson process are exponential: e^-1 of them are longer than their mean.
            known: &[Known::Throughput(10_000.0), Known::LongGaps(0.367_879)],
            ..of(
                "poisson",
                "gaps are exponential",
                &["throughput, by formula", "gaps over the mean, of 1000, by formula"],
            )
        },
        Check {
            load: Load { burst: Some(100), ..Load::rate(2_000.0, Arrivals::Burst) },
            seconds: 1.2,
            faults: Faults { gap_ns: Some(200_000), ..Faults::default() },
            // The k-th of a hundred, counted from 0, waits k times 0.2 ms.
            known: &[
                Known::Throughput(2_000.0),
                Known::Time(Times::Response, 0.5, 9_800_000),
                Known::Time(Times::Response, 0.99, 19_600_000),
            ],
            ..of(
                "bursts",
                "bursts of a hundred, at most 5,000 messages a second",
                &["response p50", "response p99"],
            )
        },
        Check {
            load: Load::rate(4_000.0, Arrivals::Ramp),
            // Until t, 4,000 t^2 / (2 x 0.7) are due: 1,371 of them from 0.1 to 0.7 s.
            known: &[Known::Throughput(2_285.7)],
            ..of("ramp", "from nothing to 4,000 messages a second", &["throughput, by formula"])
        },
    ]
}

const MS: u64 = 1_000_000;
const HELD: Pause = Pause { at_ns: 200 * MS, for_ns: 400 * MS };

/// Of 2,400 messages that are due in 1.2 s, those of 0.4 s are held: the k-th waits
/// 400 ms less k gaps of 0.5 ms. Hence the longest, the 99th percentile (24 wait
/// longer), and how many wait for more than 100 ms.
const HELD_RESPONSE: &[Known] = &[
    Known::Time(Times::Response, 1.0, 400 * MS),
    Known::Time(Times::Response, 0.99, 388 * MS),
    Known::Beyond(100 * MS, 600),
];

fn times() -> Vec<Check> {
    let of = |name, about, headline| Check::of(name, Pattern::OneWay, about, headline);
    let delay = |delay_ns, check: Check| Check { faults: Faults { delay_ns, ..check.faults }, ..check };
    let service = &["service p50", "service p99"];
    vec![
        delay(2 * MS, of("delay-2ms", "every message takes 2 ms", service)),
        delay(MS / 5, of("delay-200us", "every message takes 200 µs", service)),
        delay(2 * MS, Check::of("delay-reqrep", Pattern::RequestReply, "every request takes 2 ms", service)),
        Check {
            load: Load::rate(5_000.0, Arrivals::Constant),
            seconds: 2.2,
            faults: Faults { shares: &[(Harm::Slow, 30)], slow_ns: 5 * MS, ..Faults::default() },
            ..of(
                "two-values",
                "3 in 100 messages take 5 ms, the others no time",
                &["service p50", "service p90", "service p99", "service p99.9"],
            )
        },
        Check {
            seconds: 1.2,
            faults: Faults { stall: Some(HELD), ..Faults::default() },
            longest: &[Times::Service, Times::Response],
            known: HELD_RESPONSE,
            not_raised: &[Flag::NegativeLatency, Flag::GeneratorLimited],
            ..of("stall", "no message passes for 400 ms", &["response p99", "response max"])
        },
        Check {
            seconds: 1.2,
            faults: Faults { block: Some(HELD), ..Faults::default() },
            longest: &[Times::Lag, Times::Response],
            known: HELD_RESPONSE,
            raised: &[Flag::GeneratorLimited],
            ..of(
                "blocked-sender",
                "the sender's call takes 400 ms, once",
                &["lag max", "response max", "service p99"],
            )
        },
        Check {
            faults: Faults { confirm_ns: 3 * MS, ..Faults::default() },
            ..Check::of(
                "confirm-3ms",
                Pattern::Queue,
                "every confirmation takes 3 ms",
                &["confirm p50", "confirm p99"],
            )
        },
    ]
}

fn counts() -> Vec<Check> {
    let of = |name, about, headline| Check::of(name, Pattern::OneWay, about, headline);
    vec![
        of("loss", "2 in 100 messages are dropped", &["lost"]).harmed(&[(Harm::Dropped, 20)]),
        of("refusals", "2 in 100 messages are refused", &["refused"]).harmed(&[(Harm::Refused, 20)]),
        of("duplicates", "2 in 100 messages are delivered twice", &["duplicated"])
            .harmed(&[(Harm::Repeated, 20)]),
        Check {
            faults: Faults { shares: &[(Harm::Late, 20)], overtaken_by: 7, ..Faults::default() },
            ..of(
                "disorder",
                "2 in 100 messages are overtaken by 7 others",
                &["reordered", "reorder distance"],
            )
        },
        of("corruption", "a bit is flipped in 2 of 100 messages", &["corrupt", "lost"])
            .harmed(&[(Harm::Damaged, 20)]),
        of("strangers", "messages of another run are mixed in", &["misrouted"])
            .harmed(&[(Harm::Strayed, 20)]),
        Check {
            faults: Faults {
                shares: &[
                    (Harm::Dropped, 10),
                    (Harm::Refused, 10),
                    (Harm::Repeated, 10),
                    (Harm::Late, 10),
                    (Harm::Damaged, 10),
                    (Harm::Strayed, 10),
                ],
                overtaken_by: 20,
                delay_ns: 300_000,
                ..Faults::default()
            },
            ..of(
                "everything",
                "six faults at once, and 300 µs",
                &["lost", "refused", "duplicated", "reordered", "corrupt", "misrouted"],
            )
            .role_counts(2, 1)
        },
    ]
}

fn clocks() -> Vec<Check> {
    let of = |name, about, headline| Check::of(name, Pattern::OneWay, about, headline);
    let step = |from, by_ns| Faults { clock: Some(Step { from, by_ns }), ..Faults::default() };
    vec![
        Check {
            faults: step(800, 10_000_000_000),
            raised: &[Flag::NegativeLatency],
            not_raised: &[],
            ..of("clock-ahead", "the sender's clock jumps 10 s ahead", &["negative", "flag negative-latency"])
        },
        Check {
            faults: step(600, -30_000_000),
            ..of("clock-behind", "the sender's clock jumps 30 ms back", &["service p90", "service p99"])
        },
    ]
}

fn overload() -> Vec<Check> {
    let of = |name, about, headline| Check::of(name, Pattern::OneWay, about, headline);
    vec![
        Check {
            load: Load::max(),
            window: Some(2_000),
            warmup: 0.4,
            faults: Faults { gap_ns: Some(100_000), ..Faults::default() },
            backlog: true,
            known: &[Known::Throughput(10_000.0)],
            ..of("slow-receiver", "full speed, at most 10,000 messages a second", &["throughput", "backlog"])
        },
        Check {
            load: Load::rate(4_000.0, Arrivals::Constant),
            faults: Faults { gap_ns: Some(500_000), ..Faults::default() },
            backlog: true,
            longest: &[Times::Response],
            // The last message is due after 700 ms, as the 2,800th; it leaves after 1,400 ms.
            known: &[Known::Throughput(2_000.0), Known::Time(Times::Response, 1.0, 700 * MS)],
            ..of(
                "overload",
                "4,000 messages a second, at most 2,000 pass",
                &["throughput", "backlog", "response max"],
            )
        },
        Check {
            load: Load { kind: LoadKind::Capacity, ..Load::max() },
            seconds: 0.3,
            faults: Faults { gap_ns: Some(100_000), ..Faults::default() },
            known: &[Known::Sustained(10_000.0)],
            ..of(
                "capacity",
                "a search, at most 10,000 messages a second",
                &[SUSTAINED, "highest pass", "lowest fail"],
            )
        },
    ]
}

/// A crowd shares what one sender or receiver has alone: 10,000 messages a second. The harness
/// must keep the transport busy however many there are, and take little for itself.
fn crowds() -> Vec<Check> {
    let of = |name, pattern, about, senders, receivers: usize| {
        let shared = 100_000 * receivers as u64;
        Check {
            load: Load::max(),
            // What is in flight at the end takes 0.2 s to drain.
            window: Some((2_000 / receivers as u64).max(32)),
            warmup: 0.4,
            faults: Faults { gap_ns: Some(shared), ..Faults::default() },
            known: &[Known::Throughput(10_000.0)],
            ..Check::of(name, pattern, about, &["throughput, by formula"]).role_counts(senders, receivers)
        }
    };
    let senders =
        |name, senders| of(name, Pattern::OneWay, "senders share 10,000 messages a second", senders, 1);
    let receivers = |name, receivers| {
        of(name, Pattern::PubSub, "subscribers share 10,000 deliveries a second", 1, receivers)
    };
    vec![
        senders("senders-1", 1),
        senders("senders-16", 16),
        senders("senders-64", 64),
        receivers("subscribers-1", 1),
        receivers("subscribers-16", 16),
        receivers("subscribers-64", 64),
    ]
}

fn patterns() -> Vec<Check> {
    let only = |only, check: Check| Check { faults: Faults { only: Some(only), ..check.faults }, ..check };
    vec![
        Check::of(
            "wrong-replies",
            Pattern::RequestReply,
            "2 in 100 replies belong to another request",
            &["misrouted", "unaccounted"],
        )
        .harmed(&[(Harm::Misanswered, 20)])
        .stalls(),
        Check::of("refused-requests", Pattern::RequestReply, "2 in 100 requests are refused", &["refused"])
            .harmed(&[(Harm::Refused, 20)]),
        only(
            1,
            Check::of(
                "deaf-subscriber",
                Pattern::PubSub,
                "one of three subscribers misses 5 in 100",
                &["lost"],
            )
            .harmed(&[(Harm::Dropped, 50)])
            .role_counts(1, 3),
        ),
        Check::of(
            "pipeline-loss",
            Pattern::Pipeline,
            "tasks are dropped, others done twice",
            &["unaccounted", "duplicated"],
        )
        .harmed(&[(Harm::Dropped, 20), (Harm::Repeated, 20)])
        .role_counts(1, 2)
        .stalls(),
        Check {
            raised: &[Flag::BrokenPromise],
            ..Check::of(
                "broken-promise",
                Pattern::Queue,
                "2 in 100 are confirmed and then dropped",
                &["confirmed lost"],
            )
            .harmed(&[(Harm::Dropped, 20)])
            .stalls()
        },
        Check::of(
            "no-promise",
            Pattern::Queue,
            "2 in 100 are neither confirmed nor delivered",
            &["unconfirmed lost"],
        )
        .harmed(&[(Harm::Swallowed, 20)])
        .stalls(),
        Check::of(
            "redeliveries",
            Pattern::Queue,
            "some are delivered twice, some marked as redelivered, some both",
            &["duplicated", "redelivered"],
        )
        .harmed(&[(Harm::Repeated, 10), (Harm::RepeatedMarked, 20), (Harm::Marked, 30)])
        .role_counts(1, 2),
        Check {
            faults: Faults {
                shares: &[(Harm::Repeated, 70), (Harm::Slow, 10)],
                slow_ns: 600 * MS,
                ..Faults::default()
            },
            known: &[Known::Lost(0)],
            ..Check::of(
                "late-among-duplicates",
                Pattern::Queue,
                "7 in 100 come twice, and 1 in 100 takes 600 ms",
                &["duplicated", "lost, by the plan"],
            )
            .role_counts(1, 2)
        },
        only(
            1,
            Check::of(
                "durable-loss",
                Pattern::Durable,
                "one of two durable subscribers misses some",
                &["confirmed lost", "redelivered"],
            )
            .harmed(&[(Harm::Dropped, 20), (Harm::RepeatedMarked, 20)])
            .role_counts(1, 2)
            .stalls(),
        ),
    ]
}
