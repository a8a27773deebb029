//! An end of a lab, and how it is opened again.

use std::marker::PhantomData;

use anyhow::{Error, Result, anyhow};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::time::timeout;

use super::backoff::{Backoff, Delays};
use super::transient::{disconnected, is_refused_login, is_transient};
use crate::lab::{Guarantee, Lab, Place, Recovery};
use crate::printable::causes;

/// How an end of the lab `L` is joined.
pub trait Joins: Clone + 'static {
    /// The lab.
    type Lab: Lab;
    /// The end.
    type End: 'static;
    /// Where.
    fn place(&self) -> &Place;
    /// Opens the lab and joins.
    async fn join(&self) -> Result<Self::End>;
    /// Whether this end connects to its peers; a listener goes on listening when all of them
    /// have left.
    fn connects(&self) -> bool {
        true
    }
}

/// A role in the lab `L`: where it joins, and as what.
pub struct Role<L, A> {
    /// Where.
    pub(super) place: Place,
    /// As what: a type for each kind of end, with what it needs to join.
    pub(super) kind: A,
    lab: PhantomData<L>,
}

impl<L, A> Role<L, A> {
    pub(super) fn new(place: &Place, kind: A) -> Self {
        Self { place: place.clone(), kind, lab: PhantomData }
    }
}

impl<L, A: Clone> Clone for Role<L, A> {
    fn clone(&self) -> Self {
        Self::new(&self.place, self.kind.clone())
    }
}

/// Whether lost connections are opened again here.
pub(super) const fn recovers<J: Joins>() -> bool {
    matches!(J::Lab::RECOVERY, Recovery::Ours)
}

/// Whether what is not confirmed is kept, and sent again.
pub(super) const fn keeps<J: Joins>() -> bool {
    recovers::<J>() && !matches!(J::Lab::GUARANTEE, Guarantee::AtMostOnce)
}

/// The end of one reopening, and how the end has fared.
pub(super) type Reopening<J> = LocalBoxFuture<'static, (Backoff, Result<<J as Joins>::End>)>;

/// Opens and joins until it succeeds or is given up. `why`: how the loss was noticed.
pub(super) fn reopening<J: Joins>(joins: J, mut backoff: Backoff, why: String) -> Reopening<J> {
    async move {
        let (mut attempts, mut latest) = (0_u32, None);
        loop {
            let Some(limit) = backoff.next_attempt().await else {
                let latest = latest.unwrap_or_else(|| disconnected(why));
                let given_up = backoff.why_given_up();
                return (backoff, Err(latest.context(given_up)));
            };
            attempts += 1;
            let joined = match timeout(limit, joins.join()).await {
                Ok(joined) => joined,
                Err(_) => Err(disconnected(format!("nobody answered within {limit:?}"))),
            };
            match joined {
                Ok(end) => {
                    backoff.opened();
                    let plural = if attempts == 1 { "" } else { "s" };
                    joins.place().reconnected(format_args!(
                        "the connection was lost ({why}); reopened after {attempts} attempt{plural}"
                    ));
                    return (backoff, Ok(end));
                }
                Err(refused) if is_refused_login(&refused) => return (backoff, Err(refused)),
                // A broker that is starting says many things; all of them may pass.
                Err(error) => latest = Some(error),
            }
        }
    }
    .boxed_local()
}

/// An end that one call at a time uses.
pub(super) struct Link<J: Joins> {
    joins: J,
    end: Option<J::End>,
    /// How many connections there were before this one.
    generation: u64,
    backoff: Backoff,
    /// How the loss was noticed, while there is no end.
    why: String,
    /// A reopening that has begun: kept here, so that a dropped call does not begin it anew.
    opening: Option<Reopening<J>>,
}

impl<J: Joins> Link<J> {
    pub(super) fn new(joins: J, end: J::End) -> Self {
        let backoff = Backoff::new(Delays::default());
        Self { joins, end: Some(end), generation: 0, backoff, why: String::new(), opening: None }
    }

    /// How the end is joined.
    pub(super) fn joins(&self) -> &J {
        &self.joins
    }

    /// Which connection it is: 0 for the first.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The end; if its connection was lost, it is opened again first. Cancel-safe.
    #[inline]
    pub(super) async fn end(&mut self) -> Result<&mut J::End> {
        if self.end.is_none() {
            self.reopen().await?;
        }
        self.end.as_mut().ok_or_else(|| anyhow!("the connection was lost"))
    }

    /// The end, unless its connection was lost.
    pub(super) fn here(&mut self) -> Option<&mut J::End> {
        self.end.as_mut()
    }

    /// Takes the end out, to close it; `None` if its connection was lost.
    pub(super) fn take(self) -> Option<J::End> {
        self.end
    }

    #[cold]
    async fn reopen(&mut self) -> Result<()> {
        if self.opening.is_none() {
            let (joins, backoff) = (self.joins.clone(), self.backoff.clone());
            self.opening = Some(reopening(joins, backoff, self.why.clone()));
        }
        if let Some(opening) = &mut self.opening {
            let (backoff, end) = opening.await;
            (self.opening, self.backoff) = (None, backoff);
            self.end = Some(end?);
        }
        Ok(())
    }

    /// An operation has succeeded.
    #[inline]
    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    /// An operation has failed. `Ok` if the connection was lost: the next call of [`Link::end`]
    /// opens it again. Every other error comes back.
    #[cold]
    pub(super) fn failed(&mut self, error: Error) -> Result<()> {
        if !recovers::<J>() || !is_transient(&error) {
            return Err(error);
        }
        let why = causes(&error);
        self.joins.place().connection_lost(&why);
        self.lost(why);
        Ok(())
    }

    /// The other side has left in order. The next call of [`Link::end`] connects again.
    pub(super) fn left(&mut self) {
        if recovers::<J>() {
            self.lost("the other side has closed it".to_owned());
        }
    }

    fn lost(&mut self, why: String) {
        self.why = why;
        self.backoff.lost();
        self.generation += 1;
        self.end = None;
    }
}
