//! Measures the labs, and proves its own numbers.
//!
//! In reading order: what a run leaves behind ([`results`]), how time and
//! messages are marked ([`clock`], [`stamp`]), how they are accounted for and
//! recorded ([`account`], [`record`], one by one in a [`recording`]), how load is offered ([`load`]), the
//! measured loops themselves ([`role`]), who conducts them ([`conduct`],
//! [`trial`], [`verdict`], [`bench`]), where brokers come from ([`broker`]), and what is
//! made of the result ([`stats`], [`report`]) and what others would make of it
//! ([`views`]), of two programs ([`regress`]), of two runs of the same ([`agree`]),
//! and of many bundles ([`history`]). [`selftest`] measures a transport whose truth
//! is known. [`book`] writes the tables of the documentation.

pub mod results;

pub mod clock;
pub mod stamp;

pub mod account;
pub mod record;
pub mod recording;

pub mod load;

pub mod role;

pub mod conduct;
pub mod fault;
pub mod trial;
pub mod verdict;

pub mod bench;
pub mod cli;
pub mod hint;
pub mod plan;

pub mod broker;
pub mod cost;
pub mod doctor;
pub mod guard;
pub mod host;
pub mod noise;
pub mod process;

pub mod report;
pub mod stats;
pub mod views;

pub mod agree;
pub mod history;
pub mod regress;

pub mod selftest;

pub mod book;
