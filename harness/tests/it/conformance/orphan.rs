//! Orphaned requests: where a lab says that none is lost with the consumer that
//! took it, the requests of a responder that vanishes are answered by another.

use std::cell::Cell;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use labs::lab::Guarantee;
use labs::reqrep::{RequestReply, Responder as _};

use super::place::Site;
use super::reqrep::{ask, serve};
use super::{Promise, promises};

pub(super) fn promises<L: RequestReply>() -> Vec<Promise> {
    if L::GUARANTEE > Guarantee::AtMostOnce { promises![L: orphaned] } else { Vec::new() }
}

/// Every ask gets its reply, though the responder that took some of them
/// vanished without a word.
async fn orphaned<L: RequestReply>(site: Site) -> Result<()> {
    const ASKED: u64 = 20;
    const TAKEN: usize = 5;
    let site = site.claiming_soon();
    let lab = L::open(&site.place()).await?;
    let (requester, mut first) = tokio::try_join!(lab.requester(), lab.responder())?;
    let answered = Cell::new(0);
    let asking = try_join_all((0..ASKED).map(|number| ask(&requester, number)));
    let answering = async {
        let mut taken = Vec::new();
        while taken.len() < TAKEN {
            taken.push(
                first
                    .next()
                    .await?
                    .context("the responder reports that no requester can connect any more")?,
            );
        }
        drop((taken, first));
        let mut second = lab.responder().await?;
        serve::<L>(&mut second, &answered, 1).await?;
        bail!("the responder ended")
    };
    let both = async {
        tokio::select! {
            biased;
            done = asking => done.map(drop),
            ended = answering => ended,
        }
    };
    let all = site.soon("every request is answered", both).await;
    all.with_context(|| {
        format!("{} of {ASKED} requests were answered by the second responder", answered.get())
    })
}
