//! Request/reply over STOMP: requests in a shared queue, `correlation-id` to
//! match them with replies, and a return address of RabbitMQ's making. A SEND
//! with `reply-to:/temp-queue/replies` has the plugin create a queue that only
//! this connection reads, subscribe to it, and put its name into the request.
//! The responder sends to where `reply-to` points, `/reply-queue/…` by then.
//!
//! Promises: a reply reaches its `ask` or nobody, in any order. Loses: requests
//! and replies of a side that dies, without a word: without a timeout of its
//! own, an `ask` waits for ever.
//!
//! Run it: `just lab reqrep-stomp`.

use anyhow::Result;

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::amqp;
use crate::wire::stomp;
use crate::wire::stomp::inbox::Inbox;
use crate::wire::stomp::link;
use crate::wire::stomp::outbox::Outbox;

/// Ours on every connection: RabbitMQ puts the name of a real queue in its place.
const REPLIES: &str = "/temp-queue/replies";

/// A queue of requests, and one of replies for every requester.
pub struct Stomp {
    place: Place,
}

impl Lab for Stomp {
    const TRANSPORT: &'static str = "stomp";
    const BROKER: Option<Broker> = Some(Broker::RabbitMq);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;

    /// Nothing to declare: the first to send or subscribe makes the queue.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP has no word for deleting a queue.
    async fn remove(place: &Place) -> Result<()> {
        amqp::delete_queue(place, &place.name()).await
    }
}

impl RequestReply for Stomp {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = QueueRequester;
    type Responder = QueueResponder;

    async fn requester(&self) -> Result<QueueRequester> {
        let pending = Pending::default();
        let asked = Hearing(pending.clone());
        let outbox = Outbox::hearing(&self.place, move |reply| {
            let id = reply.header("correlation-id").and_then(|id| id.parse().ok());
            asked.0.hand_out(id.unwrap_or_default(), reply.body);
        });
        Ok(QueueRequester { outbox: outbox.await?, requests: link::queue(&self.place), pending })
    }

    async fn responder(&self) -> Result<QueueResponder> {
        // Two connections: RabbitMQ holds back one that sends too fast, and
        // requests are read only when they are wanted.
        let replies = Outbox::to(&self.place).await?;
        let requests = Inbox::subscribe(&self.place, &link::queue(&self.place)).await?;
        Ok(QueueResponder { requests, replies })
    }
}

/// Wakes those who wait when the connection ends and nobody hears any more.
struct Hearing(Pending);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct QueueRequester {
    outbox: Outbox,
    requests: String,
    pending: Pending,
}

impl Requester for QueueRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        self.outbox.room().await?;
        let ticket = self.pending.register()?;
        let id = ticket.id().to_string();
        let headers =
            [("destination", self.requests.as_str()), ("reply-to", REPLIES), ("correlation-id", &id)];
        self.outbox.put(stomp::Command::Send, &headers, &request)?;
        self.outbox.write();
        Ok(Document(ticket.reply().await?))
    }
}

/// Answers from the shared queue, and sends replies where the request says.
pub struct QueueResponder {
    requests: Inbox,
    replies: Outbox,
}

impl Responder for QueueResponder {
    type ReplyTo = ReturnAddress<String, Option<String>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = self.requests.next().await?;
            let header = |name| request.header(name).map(|value| value.into_owned());
            // What cannot be answered is dropped: RabbitMQ would take an
            // address that is none for an error of ours.
            if let Some(address) = header("reply-to").filter(|address| is_queue(address)) {
                let id = header("correlation-id");
                return Ok(Some((request.body.into(), ReturnAddress { address, id })));
            }
        }
    }

    /// Handed to the connection's task, which writes it when this one waits.
    async fn reply(&mut self, to: Self::ReplyTo, reply: Document) -> Result<()> {
        self.replies.room().await?;
        let id = to.id.as_deref().map(|id| ("correlation-id", id));
        let headers: Vec<_> = [("destination", to.address.as_str())].into_iter().chain(id).collect();
        self.replies.put(stomp::Command::Send, &headers, &reply)?;
        self.replies.write();
        Ok(())
    }
}

fn is_queue(address: &str) -> bool {
    let prefixes = ["/reply-queue/", "/queue/", "/amq/queue/"];
    let name = prefixes.iter().find_map(|prefix| address.strip_prefix(prefix));
    name.is_some_and(|name| !name.is_empty() && !name.contains(['/', '%']))
}
