//! `lab regress`: head against base, interleaved, with a verdict.
//!
//! In reading order: what is left behind ([`record`]), where the two programs
//! come from ([`build`]), how they are measured ([`rounds`]), what follows from
//! the samples ([`verdict`]), and how it is told ([`report`]).

pub mod record;

pub mod build;
pub mod rounds;

pub mod report;
pub mod verdict;

/// What is compared when nothing else is asked for: every pattern once, every
/// kind of transport once or twice, and a broker for most.
pub const LABS: [&str; 7] = [
    "oneway-tcp",
    "reqrep-zeromq",
    "pubsub-redis",
    "pipeline-nats",
    "queue-redis-stream",
    "queue-rabbitmq",
    "durable-mqtt",
];

/// What `--quick` compares: no broker has to be started.
pub const QUICK: [&str; 2] = ["oneway-tcp", "reqrep-zeromq"];
