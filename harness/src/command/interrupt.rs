//! Ends a command cleanly on Ctrl-C.

use crate::process::signals::Interrupts;
use crate::trial;

/// Runs `work` until it ends or the user presses Ctrl-C; `None` then. A second
/// Ctrl-C ends the program at once, and the guard cleans up.
pub(crate) async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut interrupts = match Interrupts::new() {
        Ok(interrupts) => interrupts,
        Err(error) => {
            errln!("Ctrl-C ends this at once: {error:#}");
            return Some(work.await);
        }
    };
    tokio::select! {
        // What ends in the same moment is an interruption, and no failure.
        biased;
        () = interrupts.next() => {
            end_at_next(interrupts);
            None
        }
        done = work => Some(done),
    }
}

/// Removes what an interrupted run has left in the user's own broker, and says what stays.
pub(crate) fn tell_leftovers(runtime: &tokio::runtime::Runtime) {
    for line in runtime.block_on(trial::remove_all()) {
        errln!("{line}");
    }
}

/// The next Ctrl-C ends the program at once.
pub(crate) fn end_at_next(mut interrupts: Interrupts) {
    tokio::spawn(async move {
        interrupts.next().await;
        std::process::exit(130);
    });
}
