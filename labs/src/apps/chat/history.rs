//! The history service: a durable subscriber with a store of its own.
//!
//! It acknowledges what the store has on disk, not before, so that no crash of
//! it loses anything: what it had not acknowledged comes again, and what it had
//! stored already is known by its identifier. While it is away the transport
//! keeps what it misses, and the chat goes on without it.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::unconstrained;
use tokio::time::sleep;

use super::message::{Heard, Said};
use super::room::{self, Room};
use super::store::Store;
use crate::erased::DurableLab;
use crate::lab::Place;
use crate::queue::{Consumer, Delivery};

/// The durable subscriber's identifier.
pub const NAME: &str = "history";
/// Messages in one commit, at most: a commit costs a write to the disk.
const GROUP: usize = 256;
/// Between two attempts to reach the transport.
const AGAIN: Duration = Duration::from_millis(500);

/// Keeps what is said in every room, until told to stop.
pub async fn keep(
    lab: DurableLab,
    place: Place,
    store: Arc<Store>,
    joined: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let keeping = async {
        loop {
            if let Err(error) = subscribe(&lab, &place, &store, &joined).await {
                let _ = writeln!(std::io::stderr(), "history: away from the transport: {error:#}");
            }
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = keeping => Ok(()),
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    }
}

async fn subscribe(
    lab: &DurableLab,
    place: &Place,
    store: &Store,
    joined: &watch::Sender<bool>,
) -> Result<()> {
    let mut events = lab.durable(place, NAME, &room::every_room(lab.pub_sub.filters)?).await?;
    joined.send_replace(true);
    let (mut group, mut receipts) = (Vec::with_capacity(GROUP), Vec::with_capacity(GROUP));
    loop {
        let first = events.next().await?.context("the subscription has ended")?;
        let mut next = Some(first);
        while let Some(Delivery { item, receipt, .. }) = next {
            match (Room::of(&item.topic), Said::read(&item.body)) {
                (Some(room), Some(said)) => group.push(Heard { room, position: None, came_us: None, said }),
                _ => place.message_skipped(format_args!("on {}: not a message of a room", item.topic)),
            }
            // Also what was skipped: it would come again for ever.
            receipts.push(receipt);
            if receipts.len() == GROUP {
                break;
            }
            next = match unconstrained(events.next()).now_or_never() {
                Some(more) => more?,
                None => None,
            };
        }
        store.keep(std::mem::take(&mut group))?;
        for receipt in receipts.drain(..) {
            events.ack(receipt).await?;
        }
        events.flush().await?;
    }
}

/// Ends the subscription for good: the transport keeps nothing for it any more.
pub async fn forget(lab: &DurableLab, place: &Place) -> Result<()> {
    lab.forget(place, NAME).await?;
    lab.pub_sub.remove(place).await
}
