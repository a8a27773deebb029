//! Faults: what can be done to a lab, when, and what is to be said of it afterwards.
//!
//! In reading order: the names of faults ([`Fault`]), which of them can hit a lab and which its
//! guarantee covers ([`why_not`], [`covered`]), the times at which they begin and end
//! ([`FaultPlan`]), the proxy that breaks connections ([`proxy`]), and the account: times, counts
//! and the verdict, computed from what became of every message ([`account`]).

pub mod account;
mod applies;
pub mod campaign;
pub(crate) mod links;
mod messages;
mod name;
mod plan;
pub mod proxy;
mod run;
mod steps;

pub use applies::{
    BrokerSource, Covered, Shape, applicable, check_applies, covered, covers_all, shape, why_not,
};
pub use name::{ALL, Fault, SCORED, UnknownFault, What, Who};
pub use plan::{DRAIN_S, FAULT_S, FaultPlan, HEAL_S, Injection, RESTART_S, STEADY_S};
