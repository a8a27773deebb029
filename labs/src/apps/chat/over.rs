//! The transports a chat can run over: every publish/subscribe lab of the
//! catalog, with what else its transport has.

use crate::catalog::{self, Pattern, Visitor};
use crate::durable::DurablePubSub;
use crate::erased::{DurableLab, PubSubLab, RequestReplyLab};
use crate::lab::{Broker, Guarantee, Overload};
use crate::pubsub::PubSub;
use crate::reqrep::RequestReply;

use super::room;

/// A transport, and the labs that a chat over it is made of.
#[derive(Clone)]
pub struct Over {
    /// The word on the command line: the transport's, or `none`.
    pub name: String,
    /// The labs' names, for those who want to read them.
    pub labs: Vec<String>,
    /// The broker in between.
    pub broker: Option<Broker>,
    /// What the publish/subscribe lab promises.
    pub guarantee: Guarantee,
    /// What it does with who does not keep up.
    pub overload: Overload,
    /// The filter that stands for every room.
    pub rooms: String,
    /// Whether each instance has a place of its own.
    pub mesh: bool,
    /// What carries what is said.
    pub pub_sub: PubSubLab,
    /// What a history is kept with.
    pub durable: Option<DurableLab>,
    /// What a history is asked with.
    pub library: Option<RequestReplyLab>,
}

impl Over {
    /// Whether the transport has what a history needs.
    pub fn has_history(&self) -> bool {
        self.durable.is_some() && self.library.is_some()
    }

    /// A peer's address as the lab writes it: `127.0.0.1:5000` will do on the command line.
    pub fn address(&self, text: &str) -> String {
        let scheme = match self.name.as_str() {
            "zeromq" => "tcp://",
            "websocket" => "ws://",
            "unix" => "unix:",
            _ => "",
        };
        if text.starts_with(scheme) { text.to_owned() } else { format!("{scheme}{text}") }
    }

    /// Whether two instances show the same order.
    pub(super) fn order(&self) -> &'static str {
        match (self.name.as_str(), self.has_history()) {
            ("none", _) => "one instance, one order",
            (_, true) => "as it came; joining again shows the history's order, which is the same for all",
            (_, false) if self.mesh => "each speaker's own; what two say at once can come in either order",
            (_, false) => "each speaker's own; between speakers as the broker hands it to each instance",
        }
    }
}

/// Every transport, in the catalog's order; with the durable labs in the place
/// of the plain ones where there are both.
///
/// Inline, so that the labs are compiled into the crate that calls this and not into this one.
#[inline]
pub fn all() -> Vec<Over> {
    let mut labs = Labs::default();
    catalog::visit(&mut labs);
    let Labs { mut overs, askers } = labs;
    for over in &mut overs {
        // The history is asked over the same transport, or another of the same broker.
        let same = |asker: &&Asker| asker.transport == over.name;
        let near = |asker: &&Asker| over.broker.is_some() && asker.broker == over.broker;
        let asker = askers.iter().find(same).or_else(|| askers.iter().find(near));
        if let (Some(asker), true) = (asker, over.durable.is_some()) {
            over.library = Some(asker.library);
            over.labs.push(asker.lab.clone());
        }
    }
    overs
}

#[derive(Default)]
struct Labs {
    overs: Vec<Over>,
    askers: Vec<Asker>,
}

struct Asker {
    lab: String,
    transport: &'static str,
    broker: Option<Broker>,
    library: RequestReplyLab,
}

fn over<L: PubSub>(pattern: Pattern) -> Over {
    Over {
        name: if L::TRANSPORT == "inproc" { "none" } else { L::TRANSPORT }.to_owned(),
        labs: vec![catalog::name::<L>(pattern)],
        broker: L::BROKER,
        guarantee: L::GUARANTEE,
        overload: L::OVERLOAD,
        rooms: room::every_room(L::FILTERS).map_or_else(|why| why.to_string(), |filter| filter.to_string()),
        mesh: L::PUBLISHERS == Some(1),
        pub_sub: PubSubLab::of::<L>(),
        durable: None,
        library: None,
    }
}

impl Visitor for Labs {
    fn request_reply<L: RequestReply>(&mut self) {
        self.askers.push(Asker {
            lab: catalog::name::<L>(Pattern::RequestReply),
            transport: L::TRANSPORT,
            broker: L::BROKER,
            library: RequestReplyLab::of::<L>(),
        });
    }

    fn pub_sub<L: PubSub>(&mut self) {
        self.overs.push(over::<L>(Pattern::PubSub));
    }

    /// A durable lab's publisher waits for the broker to have stored what it
    /// publishes, and plain subscribers hear it too.
    fn durable<L: DurablePubSub>(&mut self) {
        let durable = Over { durable: Some(DurableLab::of::<L>()), ..over::<L>(Pattern::Durable) };
        match self.overs.iter_mut().find(|over| over.name == durable.name) {
            Some(plain) => *plain = durable,
            None => self.overs.push(durable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_of_publish_subscribe_is_there_and_every_durable_one_has_a_history() {
        let overs = all();
        let of =
            |pattern: Pattern| catalog::entries().into_iter().filter(move |entry| entry.pattern == pattern);
        assert_eq!(overs.len(), of(Pattern::PubSub).count());
        for entry in of(Pattern::Durable) {
            let over = overs.iter().find(|over| over.name == entry.transport).expect("a transport");
            assert!(over.has_history(), "{}", over.name);
            assert_eq!(over.labs[0], entry.name);
        }
        assert!(overs.iter().any(|over| over.name == "none" && over.broker.is_none() && !over.mesh));
    }
}
