//! The harness: measures the labs, and checks its own numbers.
//!
//! In reading order: what a run writes ([`results`]), how time and messages are marked,
//! accounted for and recorded ([`measure`]), the measured loops ([`roles`]) and the
//! processes they run in ([`process`], [`supervisor`]), one trial ([`trial`]), all trials
//! of a plan ([`plan`], [`runner`]), a plan for a cluster (`manifest`), brokers ([`broker`]), faults ([`fault`]) and lessons about
//! failures ([`failure`]), the course ([`course`]), statistics and reports
//! ([`stats`], [`report`]), comparisons of programs and runs ([`compare`]), pages over all results ([`site`]), and checks of
//! the harness itself ([`validate`]). [`book`] writes the tables of the documentation.

// Both panic where nobody reads any more; `outln!` and `errln!` do not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
mod command;

pub mod results;

pub mod measure;

pub mod process;
mod replay;
pub mod roles;
pub mod supervisor;
pub mod trial;

pub mod plan;
pub mod runner;

mod manifest;

pub mod broker;
pub mod doctor;
pub mod failure;
pub mod fault;

mod course;

pub mod report;
pub mod stats;

pub mod compare;
pub mod site;
pub mod validate;

pub mod cli;
mod demo;
mod view;

pub mod book;
pub mod hint;
pub mod units;
