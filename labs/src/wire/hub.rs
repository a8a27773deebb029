//! The binding side of a peer-to-peer lab: a listener and everyone who came.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::link::Link;
use super::socket::Bound;

/// Which connection a frame came from. Numbers are never used again.
pub type Guest = usize;

/// What a listener hears.
pub enum News {
    /// A frame from a guest.
    Frame(Guest, Bytes),
    /// A guest has left, by its own will or not.
    Left(Guest),
}

/// Accepts connections, reads frames from all of them in turn, and writes to each.
pub struct Hub {
    bound: Bound,
    links: Vec<Option<Link>>,
    /// Whose turn it is: everyone gets one.
    turn: usize,
    /// Who has left since [`Hub::news`] last said so.
    left: VecDeque<Guest>,
}

impl Hub {
    /// Nobody has come yet.
    pub fn new(bound: Bound) -> Self {
        Self { bound, links: Vec::new(), turn: 0, left: VecDeque::new() }
    }

    /// The next frame from anyone. What was put is written while this waits.
    /// `None` when guests came and all have left. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<(Guest, Bytes)>> {
        self.left.clear();
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Hub::next`], and says who has left; waits while nobody is here.
    /// Cancel-safe.
    pub async fn news(&mut self) -> Result<News> {
        poll_fn(|cx| {
            loop {
                if let Some(guest) = self.left.pop_front() {
                    return Poll::Ready(Ok(News::Left(guest)));
                }
                match self.poll_next(cx) {
                    Poll::Ready(Ok(Some((guest, frame)))) => {
                        return Poll::Ready(Ok(News::Frame(guest, frame)));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    _ if self.left.is_empty() => return Poll::Pending,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Closes the connection of a guest that does not speak our language.
    pub fn expel(&mut self, guest: Guest) {
        if let Some(slot) = self.links.get_mut(guest)
            && slot.take().is_some()
        {
            self.left.push_back(guest);
        }
    }

    /// Accepts a frame for a guest; `false` if it has left.
    pub fn put(&mut self, guest: Guest, parts: &[&[u8]]) -> Result<bool> {
        match self.links.get_mut(guest) {
            Some(Some(link)) => link.put(parts).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Bytes accepted for a guest and not yet written.
    pub fn unwritten(&self, guest: Guest) -> usize {
        self.links.get(guest).and_then(Option::as_ref).map_or(0, Link::unwritten)
    }

    /// Writes all that was put. Guests who have left are forgotten.
    pub async fn flush(&mut self) {
        poll_fn(|cx| if self.write_all(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Guest, Bytes)>>> {
        // Stay with one guest while it has whole frames: most calls end here.
        match self.buffered()? {
            Some(next) => Poll::Ready(Ok(Some(next))),
            None => self.poll_others(cx),
        }
    }

    /// A frame that the guest whose turn it is has sent already.
    #[inline]
    fn buffered(&mut self) -> Result<Option<(Guest, Bytes)>> {
        let Some(Some(link)) = self.links.get_mut(self.turn) else { return Ok(None) };
        Ok(link.buffered()?.map(|frame| (self.turn, frame)))
    }

    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Guest, Bytes)>>> {
        loop {
            for _ in 0..self.links.len() {
                self.turn = (self.turn + 1) % self.links.len();
                if let Some(next) = self.buffered()? {
                    return Poll::Ready(Ok(Some(next)));
                }
            }
            let progress = self.accept(cx)? | self.read(cx);
            self.write_all(cx);
            if !self.links.is_empty() && self.links.iter().all(Option::is_none) {
                return Poll::Ready(Ok(None));
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        let mut any = false;
        while let Poll::Ready(accepted) = self.bound.poll_accept(cx) {
            self.links.push(Some(Link::new(accepted.context("cannot accept a connection")?)));
            any = true;
        }
        Ok(any)
    }

    /// A connection that ends or breaks is a guest who has left.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        for (guest, slot) in self.links.iter_mut().enumerate() {
            let Some(link) = slot else { continue };
            match link.poll_fill(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(read)) if read > 0 => any = true,
                Poll::Ready(_) => {
                    (*slot, any) = (None, true);
                    self.left.push_back(guest);
                }
            }
        }
        any
    }

    /// Whether everything is written.
    fn write_all(&mut self, cx: &mut Context<'_>) -> bool {
        let mut done = true;
        for (guest, slot) in self.links.iter_mut().enumerate() {
            let Some(link) = slot else { continue };
            match link.poll_flush(cx) {
                Poll::Pending => done = false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    *slot = None;
                    self.left.push_back(guest);
                }
            }
        }
        done
    }
}
