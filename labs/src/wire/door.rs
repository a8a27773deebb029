//! How subscribers come to a publisher without a broker: each sends its filter
//! as one frame of text and is told `ok`, or why not.

use std::str;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::link::Link;
use crate::lab::Place;
use crate::topic::Filter;

/// Subscribers that have joined and wait for the publisher to take note.
const JOINING: usize = 1024;

/// A subscriber, as its publisher sees it.
pub struct Listener {
    /// What it wants.
    pub filter: Filter,
    /// Where it is.
    pub link: Link,
}

/// The publisher's door. A doorman lets subscribers in while the publisher is
/// busy with other things.
pub struct Door {
    joined: mpsc::Receiver<Listener>,
    _doorman: JoinSet<()>,
}

impl Door {
    /// Binds a free port (or the one it had before) and announces it.
    pub async fn open(place: &Place) -> Result<Self> {
        let address = place.bind_address();
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; is the port in use?"))?;
        place.announce(listener.local_addr()?);
        let (door, joined) = mpsc::channel(JOINING);
        let mut doorman = JoinSet::new();
        doorman.spawn(admit(listener, door));
        Ok(Self { joined, _doorman: doorman })
    }

    /// Whoever has joined since this was last asked.
    pub fn newcomers(&mut self) -> impl Iterator<Item = Listener> {
        std::iter::from_fn(|| self.joined.try_recv().ok())
    }
}

/// Joins a publisher; it has confirmed when this returns.
pub async fn knock(address: &str, filter: &Filter) -> Result<Link> {
    let mut link = Link::connect(address).await?;
    link.put(&[filter.to_string().as_bytes()])?;
    link.flush().await?;
    let answer = link.next().await?.context("the publisher closed the connection")?;
    ensure!(answer == "ok", "the publisher refused the filter: {}", String::from_utf8_lossy(&answer));
    Ok(link)
}

async fn admit(listener: TcpListener, door: mpsc::Sender<Listener>) {
    let mut handshakes = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let door = door.clone();
        handshakes.spawn(async move {
            // Whoever fails here has only not subscribed.
            let _ = greet(stream, door).await;
        });
        while handshakes.try_join_next().is_some() {}
    }
}

async fn greet(stream: TcpStream, door: mpsc::Sender<Listener>) -> Result<()> {
    let mut link = Link::new(stream)?;
    let text = link.next().await?.context("no filter came")?;
    match str::from_utf8(&text)?.parse::<Filter>() {
        Ok(filter) => {
            // The place at the door is taken before the answer, and the answer
            // is written before the publisher gets the connection.
            let seat = door.reserve().await?;
            link.put(&[b"ok"])?;
            link.flush().await?;
            seat.send(Listener { filter, link });
        }
        Err(error) => {
            link.put(&[error.to_string().as_bytes()])?;
            link.flush().await?;
        }
    }
    Ok(())
}
