//! A durable queue is not a persistent message: both are needed to survive the broker's death.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt as _;
use labs::catalog::{Entry, Pattern};

use super::shared::one_process;
use crate::failure::experiment::Experiment;
use crate::failure::log::Log;
use crate::failure::run::PATIENCE;
use crate::failure::scenario::Scenario;
use crate::roles::protocol::{Burst, Kind, What, Work};

const MESSAGES: u32 = 20;
/// When nothing has come for so long, nothing more will.
const QUIET: Duration = Duration::from_millis(700);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "durable-queue",
    title: "A durable queue is not a persistent message",
    pattern: Pattern::Queue,
    usual: "redis",
    question: "Twenty messages are confirmed, then the broker is killed and started again. In which of the \
               settings are they still there?",
    lesson: [
        "A confirmation says that the broker has the message, and not that it still has it after it was \
         killed.",
        "The message has to be on disk, and in RabbitMQ the queue as well: each has a setting of its own, and with \
         only one of them the message is lost.",
        "Kill your own broker once, with your own settings, and count.",
    ],
    why_not: |entry| one_process(entry).or_else(|| settings(entry).is_empty().then_some(NO_SETTINGS)),
    play: |experiment| play(experiment).boxed_local(),
};

const NO_SETTINGS: &str = "what it stores does not depend on settings that this lab has";

/// One way to keep messages.
struct Setting {
    name: &'static str,
    /// The private broker is started so that it keeps what it confirms.
    durable: bool,
    knobs: &'static [(&'static str, usize)],
    /// Messages survive by the broker's documentation.
    promised: bool,
}

/// Queue and message, each kept or not, where both are settings of their own.
const AMQP: [Setting; 4] = [
    Setting {
        name: "queue not durable, message transient",
        durable: true,
        knobs: &[("durable-queue", 0), ("delivery-mode", 1)],
        promised: false,
    },
    Setting {
        name: "queue not durable, message persistent",
        durable: true,
        knobs: &[("durable-queue", 0), ("delivery-mode", 2)],
        promised: false,
    },
    Setting {
        name: "queue durable, message transient",
        durable: true,
        knobs: &[("durable-queue", 1), ("delivery-mode", 1)],
        promised: false,
    },
    Setting {
        name: "queue durable, message persistent",
        durable: true,
        knobs: &[("durable-queue", 1), ("delivery-mode", 2)],
        promised: true,
    },
];

/// One setting: the broker writes to disk, or does not.
const REDIS: [Setting; 2] = [
    Setting { name: "appendonly no (in memory)", durable: false, knobs: &[], promised: false },
    Setting { name: "appendonly yes (in its log)", durable: true, knobs: &[], promised: true },
];

/// The queue is durable in both.
const STOMP: [Setting; 2] = [
    Setting {
        name: "queue durable, message transient",
        durable: true,
        knobs: &[("persistent", 0)],
        promised: false,
    },
    Setting {
        name: "queue durable, message persistent",
        durable: true,
        knobs: &[("persistent", 1)],
        promised: true,
    },
];

fn settings(entry: &Entry) -> &'static [Setting] {
    match (entry.transport, entry.variant) {
        ("rabbitmq", None) => &AMQP,
        ("redis" | "redis-stream", _) => &REDIS,
        ("stomp", _) => &STOMP,
        _ => &[],
    }
}

async fn play(experiment: &mut Experiment) -> Result<()> {
    experiment.own_broker()?;
    // Settings that the broker is started with need a start each; others stand side by side.
    for started in settings(&experiment.handle.entry.clone()).chunk_by(|a, b| a.durable == b.durable) {
        experiment.broker(started[0].durable, &[]).await?;
        restart(experiment, started).await?;
    }
    Ok(())
}

async fn restart(experiment: &mut Experiment, settings: &[Setting]) -> Result<()> {
    let all = MESSAGES as usize;
    let title = match settings {
        [one] => one.name.to_owned(),
        several => format!("{} queues, each with other settings", several.len()),
    };
    let mut run = experiment.part(&title, &[]).await?;
    let apart: Vec<String> = (0..settings.len()).map(|number| format!("queue{number}")).collect();
    for (index, (setting, apart)) in settings.iter().zip(&apart).enumerate() {
        run.set(setting.knobs);
        let producer = run.join_at(Kind::Producer, index, Some(apart)).await?;
        run.burst(producer, Burst { prefix: "m-".into(), count: MESSAGES, ..Burst::default() });
        let who = format!("producer-{index}");
        run.until(PATIENCE, |log| log.count(&who, What::Confirmed) == all).await;
        run.leave(producer).await?;
    }
    run.kill_broker()?;
    run.restart_broker().await?;
    for (index, (setting, apart)) in settings.iter().zip(&apart).enumerate() {
        run.set(setting.knobs);
        let consumer = run.join_at(Kind::Consumer, index, Some(apart)).await?;
        run.work(consumer, Work::default());
        // A message of its own shows that the queue delivers again.
        let last = run.join_at(Kind::Producer, settings.len() + index, Some(apart)).await?;
        run.burst(last, Burst { prefix: "last-".into(), count: 1, ..Burst::default() });
        let who = format!("consumer-{index}");
        run.until(PATIENCE, |log| log.count_of(&who, What::Acked, "last-") > 0).await;
        // RabbitMQ may deliver it before messages that it has read from its disk: so not all that was
        // kept has come with it.
        let came = |log: &Log| log.different(&who, What::Received, "m-");
        if !run.until(QUIET, |log| came(log) == all).await {
            run.until_quiet(QUIET, came).await;
        }
    }
    let log = run.end().await?;
    for (index, setting) in settings.iter().enumerate() {
        let consumer = format!("consumer-{index}");
        let confirmed = log.count_of(&format!("producer-{index}"), What::Confirmed, "m-");
        let got = log.different(&consumer, What::Received, "m-");
        let ended = log.count_of(&consumer, What::Acked, "last-") > 0;
        let seen = format!("{got} of {confirmed} confirmed messages came after the restart");
        if setting.promised {
            let claim = format!("with {}, everything confirmed is delivered", setting.name);
            experiment.holds_if(ended && confirmed == all, &claim, seen, got == confirmed);
        } else {
            let claim = format!("with {}, what was confirmed is lost", setting.name);
            experiment.holds_if(ended && confirmed == all && got < confirmed, &claim, seen, true);
        }
    }
    Ok(())
}
