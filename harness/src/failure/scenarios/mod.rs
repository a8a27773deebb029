//! The scenarios, one file each.

mod ack_too_early;
mod back_pressure;
mod competing_consumers;
mod coordinated_omission;
mod durable_queue;
mod effects_once;
mod foreign_message;
mod head_of_line;
mod late_reply;
mod late_subscriber;
mod orphaned_work;
mod poison_message;
mod publisher_confirms;
mod reconnect_storm;
mod shared;
mod slow_subscriber;
mod unfair_dispatch;
mod ventilator_first;

use super::scenario::Scenario;

/// Every scenario, in the order in which one would learn from them.
pub const ALL: [Scenario; 17] = [
    late_subscriber::SCENARIO,
    slow_subscriber::SCENARIO,
    durable_queue::SCENARIO,
    ack_too_early::SCENARIO,
    effects_once::SCENARIO,
    orphaned_work::SCENARIO,
    unfair_dispatch::SCENARIO,
    competing_consumers::SCENARIO,
    head_of_line::SCENARIO,
    poison_message::SCENARIO,
    publisher_confirms::SCENARIO,
    late_reply::SCENARIO,
    ventilator_first::SCENARIO,
    back_pressure::SCENARIO,
    coordinated_omission::SCENARIO,
    foreign_message::SCENARIO,
    reconnect_storm::SCENARIO,
];
