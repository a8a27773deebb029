//! Request/reply under overload: requests wait for a responder that is late.

use std::cell::Cell;

use anyhow::Result;
use futures_util::future::try_join_all;
use labs::reqrep::RequestReply;

use super::place::Site;
use super::reqrep::{ABANDONED, OPEN, ask, join, serve};
use super::stream::{a_moment, noise};

/// Requests wait, as many as there are, for a responder that does not answer yet.
pub(super) async fn overload<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let asked = Cell::new(0);
    let asking = async {
        let asks = (0..2 * ABANDONED).map(|number| {
            asked.set(asked.get() + 1);
            ask(&requester, number)
        });
        try_join_all(asks).await.map(drop)
    };
    let answered = Cell::new(0);
    let late = async {
        while asked.get() < 2 * ABANDONED {
            tokio::task::yield_now().await;
        }
        for when in noise(1, 50) {
            a_moment(when).await;
        }
        serve::<L>(&mut responder, &answered, OPEN).await
    };
    let both = async {
        tokio::select! {
            biased;
            asked = asking => asked,
            ended = late => ended,
        }
    };
    site.soon("every request is answered", both).await
}
