//! A hash cracker: it finds the word that has a given SHA-1 hash. The words over an
//! alphabet are numbered. A ventilator hands out ranges of numbers, workers try the
//! words, and a sink records which ranges are done and publishes `stop` when a worker
//! has found the word. It runs over any pipeline lab.
//!
//! ```text
//!   ventilator ──tasks──▶ worker ──results──▶ sink
//!        ▲                   ▲                 │ │
//!        └──── next ranges ──│─────────────────┘ │
//!                            └───── "stop" ──────┘ control
//! ```
//!
//! Read [`words`] (the key space), [`message`] (the messages), [`job`] (what a search
//! is given and reports), then the three roles: [`ventilator`], [`worker`], [`sink`].
//! The sink's [`ledger`] decides which range is handed out next. Only a window of
//! ranges is handed out at a time: this bounds what brokers store, and the work that
//! is wasted after a match.
//!
//! If a worker dies, some transports deliver its tasks again; a range that is done
//! twice is counted once. Over the other transports the sink issues missing ranges
//! again when no report has come for a while.
//!
//! Run it with `just crack`.

use std::cell::Cell;

use anyhow::Result;
use tokio::sync::mpsc;

use crate::erased::PipelineLab;
use crate::lab::Place;
use crate::pipeline::Stage;

pub mod job;
pub mod ledger;
pub mod message;
pub mod sink;
pub mod ventilator;
pub mod words;
pub mod worker;

pub use job::{Job, Order, Outcome, SearchEvent};
use sink::Sink;

/// Runs the ventilator and the sink until the word is found, all words are tried, or
/// [`Order::Stop`] comes. `on_event` is called for each event.
pub async fn search(
    lab: &PipelineLab,
    place: &Place,
    job: &Job,
    orders: mpsc::Receiver<Order>,
    on_event: &mut dyn FnMut(SearchEvent),
) -> Result<Outcome> {
    let sink = Sink::join(lab, place, job).await?;
    let mut tasks = lab.push(place, Stage::Tasks).await?;
    on_event(SearchEvent::Open);
    let (next, ranges) = mpsc::channel(job.window.max(1));
    let over = Cell::new(false);
    let mut on_event = |event| {
        over.set(over.get() || matches!(event, SearchEvent::Over(_)));
        on_event(event);
    };
    let collecting = sink.collect(next, orders, &mut on_event);
    let handing_out = async {
        match ventilator::hand_out(&mut tasks, job, ranges).await {
            // When the search is over and the workers have left, tasks need not be delivered.
            Err(error) if !over.get() => Err(error),
            _ => Ok(()),
        }
    };
    // The ventilator stays connected until the workers have left: otherwise their
    // tasks could end before they receive `stop`.
    tokio::select! {
        outcome = collecting => outcome,
        Err(error) = handing_out => Err(error),
    }
}
