//! Request/reply over the simulated transport: each request carries the channel for its
//! reply.

use std::future::pending;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use labs::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use tokio::sync::oneshot;

use super::SimulatedLab;
use crate::measure::clock;
use crate::measure::header::Header;
use crate::validate::selftest::event_log::{Left, State};
use crate::validate::selftest::fault::{Harm, Id};
use crate::validate::selftest::transport::{Entrance, Exit, SimulatedTransport};

impl RequestReply for SimulatedLab {
    const MATCHING: Matching = Matching::ReplyAddress;
    type Requester = Entrance;
    type Responder = Answering;

    async fn requester(&self) -> Result<Entrance> {
        Entrance::to(self.transport()?, vec![self.wire("")])
    }

    async fn responder(&self) -> Result<Answering> {
        Ok(Answering { exit: Exit::of(self.transport()?, self.wire(""), 0)?, before: None })
    }
}

impl Requester for Entrance {
    async fn ask(&self, request: Command) -> Result<Document> {
        let (answer, reply) = oneshot::channel();
        let header = Header::read(&request);
        self.put(request.0, Some(answer)).await?;
        let Ok((reply, state)) = reply.await else { return pending().await };
        if let Some(header) = header {
            let id = Id { producer: header.producer, sequence: header.sequence };
            let (to, shift) = (header.producer as usize, self.transport.faults.shift(id));
            self.transport.event_log.leave(Left { id, to, at: clock::now(), attempt: 1, state, shift });
        }
        Ok(reply.into())
    }
}

/// The answering end.
pub(in crate::validate::selftest) struct Answering {
    exit: Exit,
    /// The previous request.
    before: Option<Bytes>,
}

/// The address of a reply, and its faults.
pub(in crate::validate::selftest) struct ReplyTo {
    answer: Option<oneshot::Sender<(Bytes, State)>>,
    /// The reply it gets instead of its own, if any.
    wrong: Option<Bytes>,
    transport: Arc<SimulatedTransport>,
}

impl Responder for Answering {
    type ReplyTo = ReplyTo;

    async fn next(&mut self) -> Result<Option<(Command, ReplyTo)>> {
        let parcel = self.exit.pass().await?;
        let transport = self.exit.transport.clone();
        let wrongly = parcel.id.and_then(|id| transport.harm(id, 0)) == Some(Harm::Misanswered);
        let wrong = self.before.replace(parcel.body.clone()).filter(|_| wrongly);
        Ok(Some((parcel.body.into(), ReplyTo { answer: parcel.answer, wrong, transport })))
    }

    async fn reply(&mut self, to: ReplyTo, reply: Document) -> Result<()> {
        let reply = match to.wrong {
            Some(wrong) => {
                to.transport.event_log.harm(Harm::Misanswered);
                (wrong, State::Stray)
            }
            None => (reply.0, State::Whole),
        };
        // It is not an error if the requester has left.
        let _ = to.answer.map(|answer| answer.send(reply));
        Ok(())
    }
}
