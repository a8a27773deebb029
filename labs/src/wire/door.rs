//! A door with a doorman: connections are greeted while their host is busy
//! with other things. Behind it stands publish/subscribe without a broker: each
//! subscriber sends its filter as text and is told `ok`, or why not.

use std::str;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::socket::{Bound, Socket};
use crate::topic::Filter;

/// Guests who have been greeted and wait for the host to take note; also
/// those who are being greeted.
const JOINING: usize = 1024;
/// Whoever says nothing for so long is shown out.
const GREETING: Duration = Duration::from_secs(10);
/// When no connection can be accepted (too many files are open), the next
/// attempt is made after this.
const LATER: Duration = Duration::from_millis(10);

/// Where a greeted guest is handed in.
pub type Hall<G> = mpsc::Sender<G>;

/// The host's side of the door.
pub struct Door<G> {
    joined: mpsc::Receiver<G>,
    _doorman: JoinSet<()>,
}

impl<G: Send + 'static> Door<G> {
    /// Greets everyone who connects; `greet` hands in those who may stay.
    pub fn open<F>(bound: Bound, greet: impl Fn(Socket, Hall<G>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (hall, joined) = mpsc::channel(JOINING);
        let mut doorman = JoinSet::new();
        doorman.spawn(attend(bound, JOINING, move |socket| {
            // Whoever fails or dawdles here has only not joined.
            timeout(GREETING, greet(socket, hall.clone())).map(drop)
        }));
        Self { joined, _doorman: doorman }
    }

    /// Whoever has joined since this was last asked.
    pub fn newcomers(&mut self) -> impl Iterator<Item = G> {
        std::iter::from_fn(|| self.joined.try_recv().ok())
    }

    /// The next who joins.
    pub fn poll_joined(&mut self, cx: &mut Context<'_>) -> Poll<Option<G>> {
        self.joined.poll_recv(cx)
    }
}

/// Attends to everyone who connects, to so many at once; returns never.
pub(crate) async fn attend<F>(bound: Bound, most: usize, to: impl Fn(Socket) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut guests = JoinSet::new();
    loop {
        match bound.accept().await {
            Ok(socket) => drop(guests.spawn(to(socket))),
            Err(_) => sleep(LATER).await,
        }
        while guests.try_join_next().is_some() {}
        if guests.len() >= most {
            guests.join_next().await;
        }
    }
}

/// A subscriber, as its publisher sees it.
pub struct Listener<L> {
    /// What it wants.
    pub filter: Filter,
    /// Where it is.
    pub link: L,
}

/// Joins a publisher; it has confirmed when this returns.
pub async fn knock(address: &str, filter: &Filter) -> Result<Link> {
    let mut link = Link::connect(address).await?;
    link.put(&[filter.to_string().as_bytes()])?;
    link.flush().await?;
    let answer = link.next().await?.context("the publisher closed the connection")?;
    admitted(&answer)?;
    Ok(link)
}

/// The doorman's side of [`knock`].
pub async fn greet(socket: Socket, hall: Hall<Listener<Link>>) -> Result<()> {
    let mut link = Link::new(socket);
    let text = link.next().await?.context("no filter came")?;
    let (filter, answer) = judge(&text);
    // The place in the hall is taken before the answer, and the answer is
    // written before the publisher gets the connection.
    let seat = hall.reserve().await?;
    link.put(&[answer.as_bytes()])?;
    link.flush().await?;
    if let Some(filter) = filter {
        seat.send(Listener { filter, link });
    }
    Ok(())
}

/// The filter that a newcomer's text spells, and what it is told.
pub(crate) fn judge(text: &[u8]) -> (Option<Filter>, String) {
    match str::from_utf8(text).map_err(Into::into).and_then(str::parse::<Filter>) {
        Ok(filter) => (Some(filter), "ok".to_owned()),
        Err(error) => (None, error.to_string()),
    }
}

/// What the publisher's answer means.
pub(crate) fn admitted(answer: &[u8]) -> Result<()> {
    ensure!(answer == b"ok", "the publisher refused the filter: {}", String::from_utf8_lossy(answer));
    Ok(())
}
