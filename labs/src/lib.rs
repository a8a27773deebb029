//! Messaging patterns as short files you can read, run, break and measure.
//!
//! Six patterns, each one contract and a folder of labs; a lab is one file that speaks the
//! pattern over one transport. `labs/examples` has a whole program for each pattern: read
//! these first. Then, in this order: the trait of all labs ([`lab`]), the place where a lab runs
//! ([`place`]), the address of a broker ([`address`]), topics and filters ([`topic`]), the intents of messages ([`message`]), a
//! pattern's module for its contract, and any lab beside it. [`recovery`] says what happens when a
//! connection is lost. [`catalog`] lists all labs.
//!
//! What is *not* here: no measuring clock, no command line, no broker's life
//! cycle. The harness measures exactly this code, from the outside.
#![expect(
    async_fn_in_trait,
    reason = "a role is one thread with one runtime: futures need no Send bound, \
              and static dispatch costs nothing per message"
)]
// Both panic where nobody reads any more, as in `2>&1 | head -1`; writing with `writeln!` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod address;
pub mod broker;
pub mod guarantee;
pub mod incidents;
pub mod knob;
pub mod lab;
pub mod message;
pub mod place;
pub mod printable;
pub mod topic;

pub mod durable;
pub mod oneway;
pub mod pipeline;
pub mod pubsub;
pub mod queue;
pub mod reqrep;

#[cfg(feature = "apps")]
pub mod apps;
pub mod catalog;
pub mod erased;
pub mod example;
pub mod recovery;
pub mod wire;

// The unit tests bound what parsers hold.
#[cfg(test)]
#[global_allocator]
static HEAP: fuzz::Heap<std::alloc::System> = fuzz::Heap(std::alloc::System);
