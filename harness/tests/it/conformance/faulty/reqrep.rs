//! Request/reply in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use labs::lab::Place;
use labs::reqrep::{Command, Document, Matching, RequestReply, Requester, Responder};
use tokio::sync::oneshot;

use super::fault::*;
use super::foreign::skips;
use super::tank::pause;
use super::{Faulty, SAYS_WAITS};

/// Requests that may be open where those given up are never forgotten.
const SLOTS: u64 = 100;

#[derive(Default)]
pub(super) struct Desk(Mutex<State>);

#[derive(Default)]
struct State {
    asked: u64,
    answered: u64,
    requests: VecDeque<(u64, Command)>,
    waiting: BTreeMap<u64, oneshot::Sender<Document>>,
    responders: usize,
    /// A reply that was held back, to be mixed up with the next.
    kept: Option<(u64, Document)>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestReply for Faulty<SAYS_WAITS> {
    const MATCHING: Matching = Matching::CorrelationId;
    type Requester = Asker;
    type Responder = Answerer;

    async fn requester(&self) -> Result<Asker> {
        Ok(Asker { desk: self.registered(), fault: self.fault })
    }

    async fn responder(&self) -> Result<Answerer> {
        let desk: Arc<Desk> = self.registered();
        let number = desk.lock().responders;
        desk.lock().responders += 1;
        Ok(Answerer { desk, place: self.place.clone(), number, taken: BTreeMap::new(), fault: self.fault })
    }
}

pub(in super::super) struct Asker {
    desk: Arc<Desk>,
    fault: usize,
}

/// Forgets a request that was given up.
struct Forget<'a>(&'a Desk, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.remove(&self.1);
    }
}

impl Requester for Asker {
    async fn ask(&self, request: Command) -> Result<Document> {
        let (asker, reply) = oneshot::channel();
        let id = {
            let mut state = self.desk.lock();
            if self.fault == LEAKS && state.asked - state.answered > SLOTS {
                bail!("no slot is free for this request");
            }
            state.asked += 1;
            let id = state.asked;
            state.requests.push_back((id, request));
            state.waiting.insert(id, asker);
            id
        };
        let _forget = Forget(&self.desk, id);
        let reply = reply.await.context("the request was dropped")?;
        self.desk.lock().answered += 1;
        Ok(reply)
    }
}

pub(in super::super) struct Answerer {
    desk: Arc<Desk>,
    place: Place,
    number: usize,
    /// Requests that are not answered yet.
    taken: BTreeMap<u64, Command>,
    fault: usize,
}

impl Drop for Answerer {
    fn drop(&mut self) {
        if self.fault != NEVER_AGAIN {
            self.desk.lock().requests.extend(std::mem::take(&mut self.taken));
        }
    }
}

impl Responder for Answerer {
    type ReplyTo = u64;

    async fn next(&mut self) -> Result<Option<(Command, u64)>> {
        loop {
            let deaf = self.fault == ONE_RESPONDER && self.number > 0;
            let request = if deaf { None } else { self.desk.lock().requests.pop_front() };
            if let Some((id, body)) = request {
                if self.fault == DROPS_TAKEN {
                    // Given up here, the request is gone.
                    tokio::task::yield_now().await;
                }
                if skips(&body, &self.place, self.fault)? {
                    continue;
                }
                self.taken.insert(id, body.clone());
                return Ok(Some((body, id)));
            }
            pause().await;
        }
    }

    async fn reply(&mut self, mut to: u64, mut body: Document) -> Result<()> {
        self.taken.remove(&to);
        let mut state = self.desk.lock();
        if self.fault == WRONG_REPLY && state.waiting.len() > 1 {
            match state.kept.replace((to, body.clone())) {
                None => return Ok(()),
                Some((kept_to, kept)) => {
                    state.kept = None;
                    if let Some(asker) = state.waiting.remove(&to) {
                        let _ = asker.send(kept);
                    }
                    to = kept_to;
                }
            }
        }
        if self.fault == LATE_REPLY {
            // As if there were no identifier: whoever has waited longest gets it.
            to = state.waiting.keys().next().copied().unwrap_or(to);
        }
        if self.fault == DAMAGES {
            body = String::from_utf8_lossy(&body).into_owned().into();
        }
        match state.waiting.remove(&to) {
            Some(asker) => drop(asker.send(body)),
            None if self.fault == FRAGILE => bail!("the requester has gone"),
            None => {}
        }
        Ok(())
    }
}
