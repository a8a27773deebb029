//! Request/reply over NATS core: responders share a subject as a queue group,
//! and every request carries a subject of its own to reply to, an inbox.
//!
//! The requester listens to all its inboxes with one subscription; the last
//! word of the subject says which `ask` a reply belongs to. NATS says at once
//! when nobody answers to a subject ("no responders"), which is an error and
//! not a wait. Promises: a reply reaches the `ask` it answers or nobody. Loses:
//! a request whose responder dies or has no room for it, and a reply whose
//! requester has gone, so a caller who must not wait for ever needs a timeout.
//!
//! Run it: `just lab reqrep-nats`.

use anyhow::Result;
use async_nats::Subject;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::nats::{self, Line, Listener};

/// A subject of requests.
pub struct Nats {
    place: Place,
}

impl Lab for Nats {
    const TRANSPORT: &'static str = "nats";
    const BROKER: Option<Broker> = Some(Broker::Nats);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Drops;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[nats::HIGH_WATER];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// A subject is gone when its last subscriber is.
    async fn remove(_place: &Place) -> Result<()> {
        Ok(())
    }
}

impl RequestReply for Nats {
    const MATCHING: Matching = Matching::ReplyAddress;
    type Requester = InboxRequester;
    type Responder = GroupResponder;

    async fn requester(&self) -> Result<InboxRequester> {
        let line = Line::to(&self.place).await?;
        Ok(InboxRequester { line, requests: self.place.name().into() })
    }

    async fn responder(&self) -> Result<GroupResponder> {
        let requests = Listener::to(&self.place, self.place.name(), Some("responders")).await?;
        Ok(GroupResponder { requests })
    }
}

/// Asks with a return address of its own for every request.
pub struct InboxRequester {
    line: Line,
    requests: Subject,
}

impl Requester for InboxRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let asked = self.line.client.request(self.requests.clone(), request.0);
        Ok(Document(self.line.unless_cut(asked).await?.payload))
    }
}

/// Answers as one of the group.
pub struct GroupResponder {
    requests: Listener,
}

impl Responder for GroupResponder {
    type ReplyTo = Subject;

    async fn next(&mut self) -> Result<Option<(Command, Subject)>> {
        loop {
            let request = self.requests.next().await?;
            // What has no return address cannot be answered, and is dropped.
            if let Some(inbox) = request.reply {
                return Ok(Some((request.payload.into(), inbox)));
            }
        }
    }

    /// Handed to the client's own task, which writes it without being asked.
    async fn reply(&mut self, to: Subject, reply: Document) -> Result<()> {
        self.requests.inbox.line.publish(to, reply.0).await
    }
}
