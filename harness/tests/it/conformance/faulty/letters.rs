//! The dead letters of the lab in memory.

use std::sync::Arc;

use anyhow::Result;
use labs::queue::{DeadLetter, DeadLetters};

use super::tank::Tank;

/// Those of one tank.
pub(in super::super) struct Letters(pub(super) Arc<Tank>);

impl Letters {
    fn take(&self, id: &str) -> Option<DeadLetter> {
        let mut tank = self.0.lock();
        let at = tank.dead.iter().position(|letter| letter.id == id)?;
        Some(tank.dead.remove(at))
    }
}

impl DeadLetters for Letters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        Ok(self.0.lock().dead.iter().take(most).cloned().collect())
    }

    async fn give_back(&mut self, id: &str) -> Result<bool> {
        let letter = self.take(id);
        Ok(letter.map(|letter| self.0.lock().put(letter.body)).is_some())
    }

    async fn discard(&mut self, id: &str) -> Result<bool> {
        Ok(self.take(id).is_some())
    }
}
