//! Request/reply with recovery.
//!
//! An `ask` whose connection is lost fails with [`ConnectionLost`]: a responder may have handled
//! the request, so that asking again is its caller's decision. The next `ask` opens the
//! connection again, and others wait for it. A lab that promises at least once asks again by itself.
//! With several responders a lab may lose one connection and go on with the others: it marks
//! the requests that are lost with [`ConnectionLost`] itself, and nothing is opened again here.
//!
//! A responder joins again. Replies to requests that came over a former connection are dropped.

use anyhow::{Result, anyhow};

use super::Recovering;
use super::link::{Joins, Link, Role, keeps};
use super::shared::Shared;
use super::transient::ConnectionLost;
use crate::lab::Place;
use crate::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};

/// As a requester.
#[derive(Clone)]
pub struct AsRequester;

impl<L: RequestReply> Joins for Role<L, AsRequester> {
    type Lab = L;
    type End = L::Requester;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Requester> {
        L::open(&self.place).await?.requester().await
    }
}

/// As a responder.
#[derive(Clone)]
pub struct AsResponder;

impl<L: RequestReply> Joins for Role<L, AsResponder> {
    type Lab = L;
    type End = L::Responder;

    fn place(&self) -> &Place {
        &self.place
    }
    async fn join(&self) -> Result<L::Responder> {
        L::open(&self.place).await?.responder().await
    }
}

impl<L: RequestReply> RequestReply for Recovering<L> {
    const MATCHING: Matching = L::MATCHING;
    type Requester = RecoveringRequester<L>;
    type Responder = RecoveringResponder<L>;

    async fn requester(&self) -> Result<RecoveringRequester<L>> {
        let end = self.lab.requester().await?;
        Ok(RecoveringRequester(Shared::new(Role::new(&self.place, AsRequester), end)))
    }

    async fn responder(&self) -> Result<RecoveringResponder<L>> {
        let end = self.lab.responder().await?;
        Ok(RecoveringResponder(Link::new(Role::new(&self.place, AsResponder), end)))
    }
}

/// A requester whose connection is opened again.
pub struct RecoveringRequester<L: RequestReply>(pub(super) Shared<Role<L, AsRequester>>);

impl<L: RequestReply> Requester for RecoveringRequester<L> {
    async fn ask(&self, request: Command) -> Result<Document> {
        let mut kept = keeps::<Role<L, AsRequester>>().then(|| request.clone());
        let mut request = request;
        loop {
            let (generation, end) = self.0.end().await?;
            let lost = match end.ask(request).await {
                Ok(reply) => {
                    self.0.succeeded();
                    return Ok(reply);
                }
                Err(error) if error.is::<ConnectionLost>() => error,
                Err(error) => anyhow!(self.0.failed(generation, error)?).context(ConnectionLost),
            };
            match &mut kept {
                Some(kept) => request = kept.clone(),
                None => return Err(lost),
            }
        }
    }
}

/// A responder whose connection is opened again.
pub struct RecoveringResponder<L: RequestReply>(pub(super) Link<Role<L, AsResponder>>);

impl<L: RequestReply> Responder for RecoveringResponder<L> {
    /// Which connection the request came over, and the lab's own.
    type ReplyTo = (u64, <L::Responder as Responder>::ReplyTo);

    async fn next(&mut self) -> Result<Option<(Command, Self::ReplyTo)>> {
        loop {
            let generation = self.0.generation();
            match self.0.end().await?.next().await {
                Ok(next) => {
                    self.0.succeeded();
                    return Ok(next.map(|(request, to)| (request, (generation, to))));
                }
                Err(error) => self.0.failed(error)?,
            }
        }
    }

    async fn reply(&mut self, (generation, to): Self::ReplyTo, reply: Document) -> Result<()> {
        if generation != self.0.generation() {
            return Ok(());
        }
        match self.0.here() {
            Some(end) => match end.reply(to, reply).await {
                Ok(()) => Ok(()),
                Err(error) => self.0.failed(error),
            },
            None => Ok(()),
        }
    }
}
