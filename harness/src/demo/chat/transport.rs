//! The transport of a chat, and the lab for its history.

use anyhow::Result;
use labs::apps::chat::over::{self, Over};
use labs::catalog::Pattern;
use labs::lab::{BrokerAddress, Place};

/// The transport of this name.
pub(super) fn find(name: &str) -> Result<Over> {
    let overs = over::all();
    overs.into_iter().find(|over| over.name == name).ok_or_else(|| {
        let mut known = crate::command::transports(Pattern::PubSub, |_| true);
        known.iter_mut().filter(|name| *name == "inproc").for_each(|name| *name = "none".to_owned());
        crate::command::no_transport("the chat", name, &known)
    })
}

/// Where the history is asked.
pub(super) fn library(place: &str, address: Option<&BrokerAddress>) -> Place {
    Place::new(&format!("{place}-library"), address)
}
