//! The runtimes of roles and of short work for a lab.

use anyhow::{Context as _, Result};
use futures_util::future::LocalBoxFuture;
use labs::lab::Knob;

/// Threads of a role's runtime; 0 is one current-thread runtime, where a
/// message costs no hop between threads.
pub(super) const RUNTIME_THREADS: Knob =
    Knob::new("runtime-threads", 0, "Threads of a role's runtime; 0: one thread that does everything.");

/// Runs something of a lab to its end. Boxed, so that a runtime's inside is compiled
/// once and not for each lab.
pub fn block_on<T>(work: LocalBoxFuture<'_, Result<T>>) -> Result<T> {
    runtime(0)?.block_on(work)
}

/// A runtime for one role or one cleanup task.
pub fn runtime(threads: usize) -> Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).enable_all().build().context("cannot start a runtime")
}
