//! By which factor: one message in flight at a time, against the default window.

use std::collections::BTreeMap;

use anyhow::Result;
use labs::catalog::{Entry, Particular, Pattern};
use labs::lab::Knob;
use labs::reqrep::Matching;

use super::question::{Form, Question, Topic};
use super::seen::Seen;
use crate::command::thousands;
use crate::failure::experiment::Experiment;
use crate::measure::schedule;
use crate::plan;
use crate::results::{Arrivals, Flag, Load, Trial};
use crate::roles::knobs;
use crate::roles::protocol::kinds;
use crate::supervisor::Placement;
use crate::trial::{self, Spec, TrialOptions};

/// Size of the messages, bytes.
const SIZE: usize = 64;
/// How often a trial is made that has failed: on a busy machine nothing may have been received in a second.
const TRIES: usize = 3;
/// The harness's knob for what is asked or sent and not yet answered or confirmed.
const IN_FLIGHT: &str = "in-flight";
/// The knobs of labs that say how many messages share a command, a write or a round trip.
const TOGETHER: [&str; 6] = ["batch", "write-bytes", "prefetch", "credit", "depth", "connections"];

/// Added to a result that is not steady.
const BUSY: &str = " (the machine was busy meanwhile: another try may show quite another factor)";
/// At this rate, messages a second, one has arrived before the next is sent.
const ALONE: f64 = 200.0;

/// How it is found out what one in flight at a time makes.
///
/// Where nothing comes back to the sender, a window of one would measure how often the harness looks
/// at the receiver's counter. There, one divided by the time that a message takes is what a sender
/// could send that waits until each is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// A reply, or a confirmation, wakes the sender: with the knob `in-flight` at 1.
    InFlight(usize),
    /// By the time that a message takes when it is alone.
    Takes,
}

impl Alone {
    fn of(entry: &Entry) -> Self {
        let knob = knobs(entry.pattern).iter().find(|knob| knob.name == IN_FLIGHT);
        knob.map_or(Self::Takes, |knob| Self::InFlight(knob.default))
    }

    /// Messages in flight by default.
    fn many(self) -> String {
        let many = match self {
            Self::InFlight(many) => (many as u64).min(plan::WINDOW),
            Self::Takes => plan::WINDOW,
        };
        thousands(many as f64)
    }
}

pub(super) fn question(entry: &Entry) -> Question {
    let (waits, done) = match entry.pattern {
        Pattern::RequestReply => ("each request waits for the reply to the one before", "answered"),
        Pattern::Queue => ("each message waits until the one before is confirmed", "received"),
        Pattern::Pipeline => ("each task waits until the result of the one before is at the sink", "done"),
        _ => ("each message waits until the one before is received", "received"),
    };
    let text = format!(
        "Messages of {SIZE} bytes, as fast as possible, first one at a time ({waits}), then with up to {} in \
         flight. By which factor are more of them {done} a second?",
        Alone::of(entry).many()
    );
    let page = "docs/method.md#the-load".to_owned();
    Question { topic: Topic::Factor, text, form: Form::Factor, why_not: None, page }
}

pub(super) async fn measure(experiment: &mut Experiment) -> Result<Seen> {
    experiment.usual_broker().await?;
    let (handle, alone) = (experiment.handle.clone(), Alone::of(&experiment.handle.entry));
    experiment.tell("\n  one at a time, then as many as the window allows; a second each");
    let (load, knobs) = match alone {
        Alone::InFlight(_) => (Load::max(), [(IN_FLIGHT.to_owned(), 1)].into()),
        Alone::Takes => (Load::rate(ALONE, Arrivals::Constant), BTreeMap::new()),
    };
    let one = trial(experiment, load, knobs).await?;
    let full = trial(experiment, Load::max(), BTreeMap::new()).await?;
    let (one, full) = match (one, full) {
        (Ok(one), Ok(full)) => (one, full),
        (Err(failed), _) | (_, Err(failed)) => return Ok(not_measured(&failed)),
    };
    let takes = match (alone, one.service_ns.p50) {
        (Alone::InFlight(_), _) => 1e9 / one.throughput_per_s,
        (Alone::Takes, Some(takes)) => takes as f64,
        (Alone::Takes, None) => return Ok(not_measured("too few messages were received")),
    };
    let busy = [&one, &full].iter().any(|trial| trial.flags.contains(&Flag::NoisyMachine));
    let (one, full) = (1e9 / takes, full.throughput_per_s);
    let micros = takes / 1e3;
    let taken = match alone {
        Alone::InFlight(_) => format!("{micros:.0} µs each"),
        Alone::Takes => format!("one takes {micros:.0} µs, the median at {ALONE:.0} a second"),
    };
    Ok(Seen {
        happened: Some(full / one),
        told: format!(
            "one at a time makes {} a second ({taken}); with up to {} in flight it was {} a second{}",
            thousands(one),
            alone.many(),
            thousands(full),
            if busy { BUSY } else { "" }
        ),
        why: why(&handle.entry),
    })
}

fn not_measured(failed: &str) -> Seen {
    Seen {
        happened: None,
        told: format!("the measurement failed: {failed}"),
        why: "Without a measurement there is no factor; try it again when the machine is less busy."
            .to_owned(),
    }
}

/// Why the window matters to this lab.
fn why(entry: &Entry) -> String {
    let sender = kinds(entry.pattern)[0];
    let waits = match entry.broker {
        Some(broker) => format!("the way through {broker}, and for each process on it to wake up"),
        None if entry.in_process() => "the other thread to wake up".to_owned(),
        None => "the way to the other peer, and for its process to wake up".to_owned(),
    };
    let mut why = format!("One at a time, the {sender} waits for {waits}. ");
    why += match entry.particular {
        Particular::Matching(Matching::Lockstep) => {
            "MATCHING is lockstep: a connection carries one request at a time, so more requests in flight help \
             only where the requester has several connections"
        }
        _ => "With many in flight these times overlap, and messages share writes, wake-ups and round trips",
    };
    let together: Vec<String> =
        entry.knobs.iter().filter(|knob| TOGETHER.contains(&knob.name)).map(shown).collect();
    if !together.is_empty() {
        why += &format!("; the knobs of {} say how many: {}", entry.name, together.join(", "));
    }
    why += &format!(
        ". The window keeps the {sender} from overrunning the other side; without it OVERLOAD ({}) would decide.",
        entry.overload
    );
    if cfg!(debug_assertions) {
        why += " (This build is not optimised; an optimised one shows another factor.)";
    }
    why
}

fn shown(knob: &Knob) -> String {
    format!("`{}` is {}", knob.name, knob.default)
}

/// A trial of one second; or why it failed.
async fn trial(
    experiment: &mut Experiment,
    load: Load,
    knobs: BTreeMap<String, usize>,
) -> Result<Result<Trial, String>> {
    let handle = experiment.handle.clone();
    let spec = Spec {
        size: SIZE,
        load,
        senders: 1,
        receivers: 1,
        warmup: 0.2,
        seconds: 1.0,
        drain: 5.0,
        window: Some(plan::WINDOW),
        knobs,
        seed: 1,
        placement: Placement { threads: handle.entry.in_process(), ..Placement::default() },
        null_rate: schedule::null_rate(SIZE)?,
        options: TrialOptions::default(),
        handle,
    };
    let mut failed = String::new();
    for _ in 0..TRIES {
        let outcome = trial::run(&spec, experiment.server.as_mut(), 0, 0, |_| {}).await?;
        match outcome.trial.failed {
            None if outcome.trial.throughput_per_s > 0.0 => return Ok(Ok(outcome.trial)),
            None => failed = "nothing was received in the measured time".to_owned(),
            Some(reason) => failed = reason,
        }
    }
    Ok(Err(failed))
}
