//! Ends a command cleanly on Ctrl-C.

use crate::trial;

/// Runs `work` until it ends or the user presses Ctrl-C; `None` then. A second
/// Ctrl-C ends the program at once, and the guard cleans up.
pub(crate) async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // What ends in the same moment is an interruption, and no failure.
        biased;
        _ = tokio::signal::ctrl_c() => {
            tokio::spawn(async {
                let _ = tokio::signal::ctrl_c().await;
                std::process::exit(130);
            });
            None
        }
        done = work => Some(done),
    }
}

/// Removes what an interrupted run has left in the user's own broker, and says what stays.
pub(crate) fn tell_leftovers(runtime: &tokio::runtime::Runtime) {
    for line in runtime.block_on(trial::remove_all()) {
        eprintln!("{line}");
    }
}
