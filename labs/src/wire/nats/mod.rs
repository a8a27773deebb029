//! What the NATS and JetStream labs share. The labs themselves publish, subscribe, request
//! and acknowledge; here is what is the same for all of them and is not their mechanism.
//!
//! - [`NatsConnection`]: a connection that is never resumed. `async-nats` reconnects by itself
//!   and cannot say what was missed in between. So here every call that waits returns an error
//!   when the connection is lost, and [`crate::recovery`] makes a new one. It also hands commands over to the client's task and
//!   makes round trips.
//! - [`CountedSubscription`]: the only subscription of a connection. It reports at its end how
//!   many messages the client has dropped. For NATS core, where a slow reader loses messages.
//! - [`subjects`]: the subject of a topic and of a filter, and the topic of a subject.
//! - [`jetstream`]: a connection with JetStream's API, what the subject of a delivery says, and
//!   how many deliveries a pull consumer may request.
//!
//! Promises: commands reach NATS in the order in which they were handed over, and every wait
//! ends when the connection is lost. Used by the labs `*-nats` and `*-jetstream`.
//!
//! The protocol: *NATS Client Protocol* and *JetStream wire API reference* on docs.nats.io;
//! here, docs/transports/nats.md and docs/transports/jetstream.md.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use async_nats::{Client, ConnectOptions, Message, Request, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::task::unconstrained;

use crate::lab::{Knob, Login, Place};
use crate::recovery::{Disconnected, disconnected};

pub(crate) mod jetstream;
pub(crate) mod subjects;

/// The client's default of 65,536 is less than it reads in one go from a full socket.
pub(crate) const HIGH_WATER: Knob = Knob::new(
    "high-water",
    262_144,
    "Messages that wait in a subscription before the client drops new ones.",
);
/// The client sends a PING so often, and gives the connection up when two of them were not answered:
/// a silent link is noticed within 6 s.
const PING: Duration = Duration::from_secs(2);
/// Connecting may take so long.
const CONNECT: Duration = Duration::from_secs(5);
/// Commands that wait for the client's own task, which writes them to the socket.
const COMMANDS: usize = 4096;

/// The message of the one round trip that a [`CountedSubscription`] has behind it.
const ROUND_TRIPS: u64 = 1;

/// A connection that is not resumed when it is lost.
#[derive(Clone)]
pub(crate) struct NatsConnection {
    pub(crate) client: Client,
    lost: watch::Receiver<bool>,
}

impl NatsConnection {
    /// Connects to the place's broker.
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let address = place.broker()?;
        let (losing, lost) = watch::channel(false);
        let connected = AtomicBool::new(false);
        // The client ignores a login that stands in an address.
        let options = match address.login().map(Login::reveal) {
            None => ConnectOptions::new(),
            Some((token, None)) => ConnectOptions::with_token(token.to_owned()),
            Some((user, Some(password))) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
        };
        let options = options
            .name(place.role())
            .subscription_capacity(place.knob(HIGH_WATER).max(1))
            .client_capacity(COMMANDS)
            .ping_interval(PING)
            .connection_timeout(CONNECT)
            // A caller who cannot wait for ever has a timeout of its own.
            .request_timeout(None)
            // Names of places and topics have only characters that a subject may have.
            .skip_subject_validation(true)
            // The client asks this before every attempt to connect: the first is made at once,
            // a second never. There is also an event for a lost connection, but the client
            // drops events when there are many.
            .reconnect_delay_callback(move |_| match connected.swap(true, Ordering::Relaxed) {
                false => Duration::ZERO,
                true => {
                    losing.send_replace(true);
                    Duration::MAX
                }
            });
        let client = options
            .connect(format!("nats://{}", address.endpoint("nats")?))
            .await
            .with_context(|| format!("cannot connect to NATS at {address}"))?;
        Ok(Self { client, lost })
    }

    /// The result of `action`, or an error when the connection is lost first.
    pub(crate) async fn unless_lost<T, E>(&self, action: impl Future<Output = Result<T, E>>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut lost = self.lost.clone();
        tokio::select! {
            biased;
            done = action => done.map_err(|error| {
                let error = anyhow::Error::new(error).context("NATS did not do it");
                // It may say nothing of the connection.
                if *self.lost.borrow() { error.context(Disconnected::new("lost the connection to NATS")) } else { error }
            }),
            _ = lost.wait_for(|lost| *lost) => connection_lost(),
        }
    }

    /// Hands a command (a publication) over to the client's task, which writes it when this
    /// task yields. Waits only while 4,096 commands are waiting.
    pub(crate) async fn hand_over<E>(&self, command: impl Future<Output = Result<(), E>>) -> Result<()>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        // Unconstrained: tokio would make this task yield after a number of such steps, and the
        // client's task would then write few commands at a time. The more wait, the more are
        // written at once.
        unconstrained(self.unless_lost(command)).await
    }

    /// Returns when NATS has handled everything written before. NATS handles the commands of a
    /// connection in order, and the last of them is a message to ourselves.
    pub(crate) async fn round_trip(&self) -> Result<()> {
        let ourselves = self.client.new_inbox();
        let request = Request::new().inbox(ourselves.clone());
        self.unless_lost(self.client.send_request(ourselves, request)).await.map(drop)
    }

    /// The next message of a subscription of this connection. Cancel-safe.
    pub(crate) async fn next(&mut self, messages: &mut Subscriber) -> Result<Message> {
        tokio::select! {
            biased;
            message = messages.next() => message.context(Disconnected::new("NATS has ended the subscription")),
            _ = self.lost.wait_for(|lost| *lost) => connection_lost(),
        }
    }
}

fn connection_lost<T>() -> Result<T> {
    Err(disconnected("NATS has closed the connection: this end fell too far behind, or NATS stopped"))
}

/// The only subscription of a connection, which counts what the client drops.
pub(crate) struct CountedSubscription {
    pub(crate) connection: NatsConnection,
    messages: Subscriber,
    who: String,
    taken: u64,
}

impl CountedSubscription {
    /// The connection has subscribed once and made one round trip, and nothing else.
    pub(crate) fn new(place: &Place, connection: NatsConnection, messages: Subscriber) -> Self {
        let who = format!("{} of {}", place.role(), place.name());
        Self { connection, messages, who, taken: 0 }
    }

    /// The next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Message> {
        let message = self.connection.next(&mut self.messages).await?;
        self.taken += 1;
        Ok(message)
    }
}

/// Every drop is an event of the client too, but the client drops its events when there are
/// many. So this counts: what arrived, was not taken and does not wait has been dropped.
impl Drop for CountedSubscription {
    fn drop(&mut self) {
        let arrived = self.connection.client.statistics().in_messages.load(Ordering::Relaxed);
        let mut accounted_for = ROUND_TRIPS + self.taken;
        while let Some(Some(_)) = unconstrained(self.messages.next()).now_or_never() {
            accounted_for += 1;
        }
        let dropped = arrived.saturating_sub(accounted_for);
        if dropped > 0 {
            let who = &self.who;
            let _ = writeln!(std::io::stderr(), "{who}: {dropped} messages were dropped, for want of room");
        }
    }
}
