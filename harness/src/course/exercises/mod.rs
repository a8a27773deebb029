//! The exercises: one file each, which plays the other parties and judges.
//!
//! A file is read top to bottom: what the exercise is, the load and the faults, the checks. The
//! statement for the student is in `labs/exercises/NAME/README.md`.

mod ack_after_work;
mod correlation;
mod credit;
mod dead_letters;
mod fair_dispatch;
mod first_message;
mod idempotent;
mod late_joiner;
mod measure_right;
mod outbox;
mod reliable_pipeline;
mod return_address;
mod rooms;
mod scatter_gather;
mod stop_all;
mod stream;
mod stream_history;

use super::exercise::Exercise;

/// All exercises, in the order in which they are done.
pub(crate) static ALL: [&Exercise; 16] = [
    &first_message::EXERCISE,
    &late_joiner::EXERCISE,
    &rooms::EXERCISE,
    &correlation::EXERCISE,
    &return_address::EXERCISE,
    &fair_dispatch::EXERCISE,
    &ack_after_work::EXERCISE,
    &idempotent::EXERCISE,
    &dead_letters::EXERCISE,
    &outbox::EXERCISE,
    &stream_history::EXERCISE,
    &scatter_gather::EXERCISE,
    &stop_all::EXERCISE,
    &credit::EXERCISE,
    &measure_right::EXERCISE,
    &reliable_pipeline::EXERCISE,
];
