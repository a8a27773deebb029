//! The same pause, measured by a closed loop and by an open one.

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::Pattern;

use crate::failure::experiment::{Experiment, ms};
use crate::failure::scenario::Scenario;
use crate::measure::schedule;
use crate::results::{Arrivals, Interval, Load, Pause, Raw, ScenarioPart, Series};
use crate::supervisor::Placement;
use crate::trial::{self, Spec, TrialOptions};

/// Enough for the 99.9th percentile, also without those that a closed loop never sends.
const RATE: f64 = 2_000.0;
const SECONDS: f64 = 7.0;
const PAUSE: Pause = Pause { at_s: 2.0, for_s: 1.0 };
const SIZE: usize = 64;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "coordinated-omission",
    title: "Coordinated omission: a closed loop does not see the pause that it waited for",
    pattern: Pattern::PubSub,
    usual: "redis",
    question: "The broker is paused for one second of seven, at 2,000 messages a second. What is the 99.9th \
               percentile of latency if the sender waits for each message before it sends the next? And if it \
               sends on time, whatever happens?",
    lesson: [
        "A sender that waits for each message sends none during the pause, so the pause is one slow sample \
         among thousands and no percentile shows it.",
        "Users do not wait for each other: measure from the moment at which a message was due, at a rate that \
         does not depend on the answers.",
        "A closed loop is fine for throughput; its percentiles are not those that a user sees.",
    ],
    why_not: |entry| entry.broker.is_none().then_some("it pauses the broker, and there is none"),
    play: |experiment| play(experiment).boxed_local(),
};

async fn play(experiment: &mut Experiment) -> Result<()> {
    experiment.own_broker()?;
    experiment.broker(false, &[]).await?;
    let mut p999 = Vec::new();
    for (name, lockstep) in [
        ("closed loop: each message waits for the one before", true),
        ("open loop: messages are sent when they are due", false),
    ] {
        experiment.tell(&format!(
            "\n  {name}: {SECONDS} s, the broker stops after {} s for {} s …",
            PAUSE.at_s, PAUSE.for_s
        ));
        let spec = Spec {
            handle: experiment.handle.clone(),
            size: SIZE,
            load: Load::rate(RATE, Arrivals::Constant),
            senders: 1,
            receivers: 1,
            warmup: 0.5,
            seconds: SECONDS,
            drain: 5.0,
            window: None,
            knobs: experiment.knobs.clone(),
            seed: 1,
            placement: Placement::default(),
            null_rate: schedule::null_rate(SIZE)?,
            options: TrialOptions { pause: Some(PAUSE), lockstep, ..TrialOptions::default() },
        };
        let outcome = trial::run(&spec, experiment.server.as_mut(), 0, 0, |_| {}).await?;
        let (trial, raw) = (outcome.trial, outcome.raw);
        let latency = trial.response_ns;
        let figure = |ns: Option<u64>| ns.map_or("too few samples".to_owned(), ms);
        experiment.fact(
            name,
            format!(
                "{} messages; p50 {}, p99 {}, p99.9 {}, longest {}",
                latency.count,
                figure(latency.p50),
                figure(latency.p99),
                figure(latency.p999),
                figure(latency.max)
            ),
        );
        // With fewer than 10,000 messages nobody can say what the 99.9th percentile is.
        p999.push((latency.p999.or(latency.p99), latency.max, trial.failed.is_none()));
        experiment.parts.push(part(name, &raw));
    }
    let [(closed, closed_max, closed_well), (open, open_max, open_well)] = p999[..] else { return Ok(()) };
    let pause = (PAUSE.for_s * 1e9) as u64;
    let hit = closed_well && open_well && closed_max.max(open_max).is_some_and(|longest| longest > pause / 2);
    let figure = |ns: Option<u64>| ns.map_or("withheld".to_owned(), ms);
    experiment.holds_if(
        hit && open.is_some(),
        "the open loop shows the pause in its p99.9 (p99, of fewer than 10,000 messages): more than half of it",
        figure(open),
        open.is_some_and(|open| open > pause / 2),
    );
    experiment.holds_if(
        hit && closed.is_some(),
        "the closed loop does not: it is less than a tenth of the pause",
        figure(closed),
        closed.is_some_and(|closed| closed < pause / 10),
    );
    Ok(())
}

/// What each interval of a loop saw.
fn part(name: &str, raw: &Raw) -> ScenarioPart {
    let seconds = raw.interval_ns as f64 / 1e9;
    let points = |value: fn(&Interval) -> f64| {
        raw.series.iter().zip(0u32..).map(|(seen, at)| (f64::from(at) * seconds, value(seen))).collect()
    };
    let series = vec![
        Series {
            name: "longest latency".into(),
            unit: "ms".into(),
            points: points(|seen| seen.max_ns as f64 / 1e6),
        },
        Series {
            name: "received".into(),
            unit: format!("messages in {:.0} ms", seconds * 1e3),
            points: points(|seen| seen.received as f64),
        },
    ];
    ScenarioPart { name: name.to_owned(), events: Vec::new(), left_out: 0, series }
}
