//! `lab regress`: compares head with base, interleaved, and gives a verdict.
//!
//! In reading order: the record of a comparison ([`record`]), the two programs
//! ([`build`], from a [`repository`]), the rounds of measurement ([`rounds`]), the verdict from the samples
//! ([`verdict`]), and the report ([`report`]).

pub mod measures;
pub mod outcome;
pub mod record;

pub mod build;
pub mod repository;
pub mod rounds;

pub mod report;
pub mod verdict;

#[cfg(test)]
mod tests;

/// The labs that are compared by default, and the fixed load of each, messages a second: every
/// pattern at least once, no two of them over the same transport. A load is about a tenth of
/// what two busy cores can move. A lower one measures how the machine wakes its idle processes
/// up, which repeats worse.
pub const LABS: [(&str, f64); 7] = [
    ("durable-mqtt", 5_000.0),
    ("oneway-tcp", 50_000.0),
    ("pipeline-nats", 5_000.0),
    ("pubsub-redis", 20_000.0),
    ("queue-rabbitmq", 2_000.0),
    ("queue-redis-stream", 5_000.0),
    ("reqrep-zeromq", 5_000.0),
];

/// What `--quick` compares: no broker has to be started.
pub const QUICK: [&str; 2] = ["oneway-tcp", "reqrep-zeromq"];

/// The fixed load of every other lab, messages a second.
pub const RATE: f64 = 5_000.0;

/// The fixed load of a lab where none is given, messages a second.
pub fn rate(lab: &str) -> f64 {
    LABS.iter().find(|(name, _)| *name == lab).map_or(RATE, |(_, rate)| *rate)
}
