//! The broker slot: the broker that consecutive trials share.

use anyhow::Result;

use super::schedule::Need;
use crate::broker::Server;

/// The broker that trials share, while it is good. One that has seen a failed
/// trial may be dead, stuck or full: the next trial gets a new one.
pub(super) struct BrokerSlot {
    pub(super) need: Need,
    pub(super) server: Option<Server>,
    pub(super) unstartable: Option<String>,
}

impl BrokerSlot {
    pub(super) fn new(need: Need) -> Self {
        Self { need, server: None, unstartable: None }
    }

    pub(super) async fn close(self) -> Result<()> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}
