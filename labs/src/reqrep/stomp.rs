//! Request/reply over STOMP: a queue of requests that responders share, and one of replies for each
//! requester.
//!
//! Wire: a requester writes SEND frames to `/queue/PLACE`, with the headers `reply-to` and
//! `correlation-id`. Responders compete for the queue (SUBSCRIBE with `ack:auto`), and write the reply
//! as a SEND to the destination in `reply-to`, with the same `correlation-id`. For
//! `reply-to:/temp-queue/replies`, RabbitMQ's STOMP plugin makes a queue that only this connection
//! reads, subscribes the connection to it, and puts its name into the request, as `/reply-queue/…`.
//! (`remove` deletes the queue over AMQP, because STOMP cannot.)
//!
//! Confirms: a request by its reply, and by nothing before: nothing is acked, and no SEND asks for a
//! RECEIPT frame. `ask` waits for the reply without a limit. `responder` returns with the RECEIPT frame
//! of its SUBSCRIBE.
//!
//! Survives: a responder that is late or dies: requests that were not written to it wait for another. A
//! requester that gives up: its reply reaches nobody. After a cut connection or a restart of RabbitMQ,
//! the recovery layer (`labs/src/recovery/`) connects and joins again; for the requests, see Loses.
//!
//! Loses: requests that were written to a responder when it died or its connection was cut; a slow one
//! may have many, because RabbitMQ writes on until the socket is full. Their `ask` waits for ever,
//! unless the caller sets a timeout. When a requester loses its connection, each open `ask` ends with
//! `ConnectionLost`: the recovery layer does not ask again. Everything in the queue when RabbitMQ
//! stops: the connections come back, the requests do not.
//!
//! Run it: `just lab reqrep-stomp`. Watch it: `rabbitmqctl list_queues name messages`.

use anyhow::{Context as _, Result};

use crate::lab::{Broker, Guarantee, Join, Lab, Overload, Place, Recovery};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::ReturnAddress;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::amqp;
use crate::wire::stomp::{self, ConsumerConnection, ProducerConnection};

/// The same on every connection: RabbitMQ replaces it by the name of a queue of this connection.
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
    const RECOVERY: Recovery = Recovery::Ours;

    /// STOMP cannot declare a queue: RabbitMQ creates it for the first who sends or subscribes.
    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone() })
    }

    /// Over AMQP: STOMP cannot delete a queue.
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
        let (waiting, place) = (CloseOnDrop(pending.clone()), self.place.clone());
        let connection = ProducerConnection::open_with(&self.place, move |reply| {
            let id = reply.header("correlation-id").and_then(|id| id.parse().ok());
            waiting.0.hand_out_or_skip(id, reply.body, &place);
        });
        Ok(QueueRequester { connection: connection.await?, requests: stomp::queue(&self.place), pending })
    }

    async fn responder(&self) -> Result<QueueResponder> {
        // Two connections: RabbitMQ stops reading from a connection that sends too fast, and the
        // connection of the requests is read only when a request is wanted.
        let replies = ProducerConnection::open(&self.place).await?;
        let (queue, prefetch) = (stomp::queue(&self.place), 0);
        let mut requests = ConsumerConnection::open(&self.place, prefetch).await?;
        let subscribe = [("destination", queue.as_str()), ("ack", "auto"), ("id", "0")];
        requests.request(stomp::Command::Subscribe, &subscribe).await.context("cannot subscribe")?;
        Ok(QueueResponder { requests, replies, place: self.place.clone() })
    }
}

/// Wakes those who wait for a reply when the connection ends, because no more replies can come.
struct CloseOnDrop(Pending);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct QueueRequester {
    connection: ProducerConnection,
    requests: String,
    pending: Pending,
}

impl Requester for QueueRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        self.connection.room().await?;
        let ticket = self.pending.register()?;
        let id = ticket.id().to_string();
        let headers =
            [("destination", self.requests.as_str()), ("reply-to", REPLIES), ("correlation-id", &id)];
        self.connection.put(stomp::Command::Send, &headers, &request)?;
        self.connection.write();
        Ok(Document(ticket.reply().await?))
    }
}

/// Answers requests from the shared queue, and sends each reply to the request's `reply-to`.
pub struct QueueResponder {
    requests: ConsumerConnection,
    replies: ProducerConnection,
    place: Place,
}

impl Responder for QueueResponder {
    type ReplyTo = ReturnAddress<String, Option<String>>;

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let request = self.requests.next().await?;
            let header = |name| request.header(name).map(|value| value.into_owned());
            if let Some(address) = header("reply-to").filter(|address| is_queue(address)) {
                let id = header("correlation-id");
                return Ok(Some((request.body.into(), ReturnAddress { address, id })));
            }
            // RabbitMQ would treat a SEND to an invalid address as our error.
            self.place.message_skipped("a request without a queue in `reply-to` cannot be answered");
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
