//! An end that many calls use at once: a producer, a requester.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Error, Result, anyhow};
use tokio::sync::Mutex;

use super::backoff::{Backoff, Delays};
use super::link::{Joins, Reopening, recovers, reopening};
use super::transient::is_transient;
use crate::printable::causes;

/// An end that many calls use at once. All of them share one reopening: the first that needs the
/// end opens it again, the others wait, and if that call is dropped, the next one goes on with the
/// same reopening.
pub(super) struct Shared<J: Joins> {
    joins: J,
    /// The end, and which connection it is. A call that fails says which one it has used, so
    /// that the same loss is noticed once.
    current: RefCell<Option<Rc<J::End>>>,
    generation: Cell<u64>,
    backoff: RefCell<Backoff>,
    why: RefCell<String>,
    opening: Mutex<Option<Reopening<J>>>,
    /// How many calls wait for the end to be opened again. Those that come later queue behind them,
    /// so that what waited is sent in its order.
    waiting: Cell<usize>,
}

/// One of the calls that wait, for as long as it does.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<J: Joins> Shared<J> {
    pub(super) fn new(joins: J, end: J::End) -> Self {
        Self {
            joins,
            current: RefCell::new(Some(Rc::new(end))),
            generation: Cell::new(0),
            backoff: RefCell::new(Backoff::new(Delays::default())),
            why: RefCell::default(),
            opening: Mutex::default(),
            waiting: Cell::new(0),
        }
    }

    /// The end, and which connection it is; if its connection was lost, it is opened again first.
    /// Cancel-safe.
    #[inline]
    pub(super) async fn end(&self) -> Result<(u64, Rc<J::End>)> {
        match self.here() {
            Some(here) if self.waiting.get() == 0 => Ok(here),
            _ => self.reopen().await,
        }
    }

    #[inline]
    fn here(&self) -> Option<(u64, Rc<J::End>)> {
        self.current.borrow().as_ref().map(|end| (self.generation.get(), Rc::clone(end)))
    }

    #[cold]
    async fn reopen(&self) -> Result<(u64, Rc<J::End>)> {
        let _waiting = Waiting::new(&self.waiting);
        // Fair: who waits longest gets it first.
        let mut turn = self.opening.lock().await;
        // Another call may have opened it while this one waited for its turn.
        if let Some(here) = self.here() {
            return Ok(here);
        }
        let opening = turn.get_or_insert_with(|| {
            let (joins, backoff) = (self.joins.clone(), self.backoff.borrow().clone());
            reopening(joins, backoff, self.why.borrow().clone())
        });
        let (backoff, end) = opening.await;
        *turn = None;
        self.backoff.replace(backoff);
        self.current.replace(Some(Rc::new(end?)));
        self.here().ok_or_else(|| anyhow!("the connection was lost"))
    }

    /// An operation has succeeded.
    #[inline]
    pub(super) fn succeeded(&self) {
        self.backoff.borrow_mut().succeeded();
    }

    /// An operation of this generation has failed. `Ok` with the error's text if the connection was
    /// lost: the next call of [`Shared::end`] opens it again. Every other error comes back.
    #[cold]
    pub(super) fn failed(&self, generation: u64, error: Error) -> Result<String> {
        if !recovers::<J>() || !is_transient(&error) {
            return Err(error);
        }
        let why = causes(&error);
        if generation == self.generation.get() && self.current.take().is_some() {
            self.generation.set(generation + 1);
            self.joins.place().connection_lost(&why);
            self.backoff.borrow_mut().lost();
            self.why.replace(why.clone());
        }
        Ok(why)
    }

    /// Takes the end out, to close it; `None` if its connection was lost.
    pub(super) fn take(self) -> Option<J::End> {
        self.current.into_inner().and_then(Rc::into_inner)
    }
}
