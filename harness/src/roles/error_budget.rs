//! The error budget: the number of consecutive errors that count as refusals before the
//! role fails.

use anyhow::Result;
use labs::recovery::ConnectionLost;
use labs::reqrep::NoResponder;

/// For errors that come one after the other: the first few are refusals, then
/// it is a failure.
pub(super) struct ErrorBudget(u32);

impl ErrorBudget {
    const LIMIT: u32 = 10;

    pub(super) fn new() -> Self {
        Self(0)
    }

    pub(super) fn success(&mut self) {
        self.0 = 0;
    }

    pub(super) fn failure(&mut self, error: anyhow::Error) -> Result<()> {
        // All requests that were open fail with their connection, and it is opened again; if it
        // cannot be, the lab says so. A responder that was killed may come back.
        if error.is::<ConnectionLost>() || error.is::<NoResponder>() {
            return Ok(());
        }
        self.0 += 1;
        if self.0 >= Self::LIMIT {
            return Err(error.context(format!("{} messages in a row were refused", self.0)));
        }
        Ok(())
    }
}
