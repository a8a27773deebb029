//! Request/reply over NATS core: responders are a queue group, and every request names an inbox for
//! its reply.
//!
//! Wire: a request is published to one subject with another subject to reply to, an inbox
//! (`PUB PLACE INBOX`); the reply is published there. Responders subscribe to the subject as a
//! queue group (`SUB PLACE responders`), so each request goes to one of them, chosen at random. The
//! requester has one subscription for all its inboxes; the last word of the inbox says which `ask`
//! a reply belongs to.
//!
//! Confirms: a request by its reply, and by nothing before; `ask` waits for it without a limit.
//! When nobody has subscribed to the subject, NATS says so at once ("no responders"), and `ask`
//! ends with an error.
//!
//! Survives: a responder that dies: later requests go to the others. A requester that gives up: its
//! reply reaches nobody. After a cut connection or a restart of NATS, the recovery layer
//! (`labs/src/recovery/`) connects and joins again; for the requests, see Loses.
//!
//! Loses: requests that a responder had, or that were on their way to it, when it died or its
//! connection was cut. Under overload, the client keeps `high-water` requests for a responder that
//! is too slow, and drops newer ones. Their `ask` waits for ever, unless the caller sets a timeout.
//! When a requester loses its connection, each open `ask` ends with `ConnectionLost`: the recovery
//! layer does not ask again. Everything on its way when NATS dies.
//!
//! Run it: `just lab reqrep-nats`. Break it: `just break run late-reply`. Watch it: `nats sub '>'`.

use anyhow::{Context as _, Result};
use async_nats::Subject;
use async_nats::client::{RequestError, RequestErrorKind};

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use crate::reqrep::{Command, Document, Matching, NoResponder, RequestReply, Requester, Responder};
use crate::wire::nats::{self, CountedSubscription, NatsConnection};

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
    const RECOVERY: Recovery = Recovery::Ours;
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
        let connection = NatsConnection::connect(&self.place).await?;
        Ok(InboxRequester { connection, requests: self.place.name().into() })
    }

    async fn responder(&self) -> Result<GroupResponder> {
        let (connection, subject) = (NatsConnection::connect(&self.place).await?, self.place.name());
        let subscribe = connection.client.queue_subscribe(subject.clone(), "responders".to_owned());
        let requests = subscribe.await.with_context(|| format!("cannot subscribe to {subject}"))?;
        // NATS does not answer SUB. It handles the commands of a connection in order: when a
        // message to ourselves comes back, the subscription is in force.
        connection.round_trip().await?;
        let requests = CountedSubscription::new(&self.place, connection, requests);
        Ok(GroupResponder { requests, place: self.place.clone() })
    }
}

/// Names an inbox of its own in every request.
pub struct InboxRequester {
    connection: NatsConnection,
    requests: Subject,
}

impl Requester for InboxRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        // Makes an inbox, publishes the request with it, and waits for the reply to that inbox.
        let reply = self.connection.client.request(self.requests.clone(), request.0);
        let replied = self.connection.unless_lost(reply).await.map_err(|error| {
            let nobody = |error: &RequestError| error.kind() == RequestErrorKind::NoResponders;
            if error.downcast_ref().is_some_and(nobody) { error.context(NoResponder) } else { error }
        });
        Ok(Document(replied?.payload))
    }
}

/// Answers as one of the group.
pub struct GroupResponder {
    requests: CountedSubscription,
    place: Place,
}

impl Responder for GroupResponder {
    type ReplyTo = Subject;

    async fn next(&mut self) -> Result<Option<(Command, Subject)>> {
        loop {
            let request = self.requests.next().await?;
            if let Some(inbox) = request.reply {
                return Ok(Some((request.payload.into(), inbox)));
            }
            self.place.message_skipped("a request without an inbox cannot be answered");
        }
    }

    /// Accepted: the client's own task writes it when this one yields.
    async fn reply(&mut self, to: Subject, reply: Document) -> Result<()> {
        let connection = &self.requests.connection;
        connection.hand_over(connection.client.publish(to, reply.0)).await
    }
}
