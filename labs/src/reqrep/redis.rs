//! Request/reply over Redis lists: one list of requests on which responders
//! compete, one list of replies per requester.
//!
//! On the wire a text line stands in front of the body. A request begins with
//! its return address and its correlation identifier, `REPLY-LIST ID\n`, a
//! reply with the identifier alone, `ID\n`; so `redis-cli` can take part:
//! `RPUSH PLACE:requests "me 7\nhello"`, then `BLPOP me 0`.
//!
//! Promises: a reply reaches the `ask` it answers or nobody. Loses: a request
//! whose responder dies, so a caller who must not wait for ever needs a timeout.
//!
//! Run it: `just lab reqrep-redis`.

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use crate::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place};
use crate::reqrep::correlation::Pending;
use crate::reqrep::return_address::{ReturnAddress, request_letter};
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use crate::wire::letters::{self, Replies, Requests};
use crate::wire::redis::{self as wire, Redis};

const BATCH: Knob =
    Knob::new("batch", 256, "Requests or replies popped with one command, and replies in one pipeline.");
const KEEP_MS: Knob =
    Knob::new("keep-ms", 60_000, "Milliseconds that a reply waits for a requester that may have gone.");

/// A list of requests, and a list of replies for each requester.
pub struct RedisLists {
    place: Place,
    redis: Redis,
}

impl Lab for RedisLists {
    const TRANSPORT: &'static str = "redis";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Stores;
    const JOIN: Join = Join::Confirmed;
    const KNOBS: &'static [Knob] = &[BATCH, KEEP_MS];

    async fn open(place: &Place) -> Result<Self> {
        Ok(Self { place: place.clone(), redis: Redis::at(place).await? })
    }

    async fn remove(place: &Place) -> Result<()> {
        wire::remove_keys(place).await
    }
}

impl RequestReply for RedisLists {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = ListRequester;
    type Responder = ListResponder;

    async fn requester(&self) -> Result<ListRequester> {
        let mut connection = self.redis.connect().await?;
        let number: u64 = redis::cmd("INCR")
            .arg(key(&self.place, "requesters"))
            .query_async(&mut connection)
            .await
            .context("cannot get a number of our own")?;
        let replies = key(&self.place, &format!("replies:{number}"));
        let pending = Pending::default();
        let count = self.place.knob(BATCH).max(1);
        let redis = self.redis.connect_to_wait().await?;
        let reader = letters::hand_out(redis, replies.clone(), count, pending.clone());
        Ok(ListRequester {
            connection,
            requests: key(&self.place, "requests"),
            replies,
            pending,
            reader: tokio::spawn(reader),
        })
    }

    async fn responder(&self) -> Result<ListResponder> {
        let batch = self.place.knob(BATCH).max(1);
        let keep_ms = self.place.knob(KEEP_MS);
        let requests = key(&self.place, "requests");
        Ok(ListResponder {
            requests: Requests::on(self.redis.connect_to_wait().await?, requests, batch),
            replies: Replies::through(self.redis.connect().await?, batch, keep_ms),
        })
    }
}

/// Asks with a correlation identifier of its own for every request.
pub struct ListRequester {
    connection: MultiplexedConnection,
    requests: String,
    replies: String,
    pending: Pending,
    reader: JoinHandle<()>,
}

impl Requester for ListRequester {
    async fn ask(&self, request: Command) -> Result<Document> {
        let ticket = self.pending.register()?;
        let message = request_letter(&self.replies, ticket.id(), &request);
        // The connection is shared: requests of other asks travel in the same write.
        let mut connection = self.connection.clone();
        let mut push = redis::cmd("RPUSH");
        push.arg(&self.requests).arg(message);
        push.exec_async(&mut connection).await.context("cannot push the request")?;
        Ok(Document(ticket.reply().await?))
    }
}

impl Drop for ListRequester {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Answers from the shared list, and pushes replies where the request says.
pub struct ListResponder {
    requests: Requests,
    replies: Replies,
}

impl Responder for ListResponder {
    type ReplyTo = ReturnAddress;

    async fn next(&mut self) -> Result<Option<(Command, ReturnAddress)>> {
        loop {
            if let Some((body, address)) = self.requests.here() {
                return Ok(Some((Command(body), address)));
            }
            self.replies.write().await?;
            self.requests.wait().await?;
        }
    }

    async fn reply(&mut self, to: ReturnAddress, reply: Document) -> Result<()> {
        self.replies.push(to, reply.0).await
    }
}

fn key(place: &Place, name: &str) -> String {
    format!("{}:{name}", place.name())
}
