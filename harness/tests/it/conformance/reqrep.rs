//! Request/reply: a reply reaches the `ask` it answers, or nobody.

use std::cell::Cell;
use std::collections::VecDeque;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{join_all, try_join_all};
use labs::reqrep::{Document, Matching, RequestReply, Requester, Responder};

use super::hostile::{self, Listener};
use super::patient::overload;
use super::place::Site;
use super::stream::{self, a_moment, message, noise};
use super::{Promise, foreign, orphan, promises};

/// Requests in flight at once.
const AT_ONCE: u64 = 300;
/// Requests a responder holds open, where it may hold several.
pub(super) const OPEN: usize = 16;
/// Requests that nobody waits for any more.
pub(super) const ABANDONED: u64 = 1_000;

pub(super) fn promises<L: RequestReply>() -> Vec<Promise> {
    let mut promises = promises![
        L: matching, bytes, late, cancelled, abandoned, shares, vanished, cancel, apart, remove, overload
    ];
    promises.extend(orphan::promises::<L>());
    promises.extend(foreign::request_reply::<L>());
    if hostile::listens::<L>() {
        const LISTENER: Listener = Listener { foreign: b"short", socket: b"REQ" };
        promises.push(Promise::of::<L, _>("hostile", |site| hostile::requests::<L>(site, LISTENER)));
    }
    if L::BROKER.is_some() {
        promises.extend(promises![L: traces]);
    }
    promises
}

pub(super) async fn join<L: RequestReply>(site: &Site) -> Result<(L::Requester, L::Responder)> {
    let lab = L::open(&site.place()).await?;
    tokio::try_join!(lab.requester(), lab.responder())
}

/// The one reply to a request.
fn reply_to(request: &[u8]) -> Document {
    b"re: ".iter().chain(request.iter().rev()).copied().collect::<Bytes>().into()
}

pub(super) async fn ask(requester: &impl Requester, number: u64) -> Result<()> {
    let request = message(number, 100);
    let reply = requester.ask(request.clone().into()).await?;
    ensure!(reply == reply_to(&request), "request {number} got a reply that is not its own");
    Ok(())
}

/// Answers for ever; where several requests may be open, the newest first.
pub(super) async fn serve<L: RequestReply>(
    responder: &mut L::Responder,
    answered: &Cell<u64>,
    most: usize,
) -> Result<()> {
    let most = if L::MATCHING == Matching::Lockstep { 1 } else { most };
    let mut open = VecDeque::new();
    loop {
        let next = match open.len() {
            0 => Some(responder.next().await?),
            full if full >= most => None,
            _ => responder.next().now_or_never().transpose()?,
        };
        match next {
            Some(request) => open
                .push_back(request.context("the responder reports that no requester can connect any more")?),
            None => {
                while let Some((request, to)) = open.pop_back() {
                    responder.reply(to, reply_to(&request)).await?;
                    answered.set(answered.get() + 1);
                }
                // Those who share the work come to their turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Runs `asking` while the responder answers.
pub(super) async fn while_served<L: RequestReply, T>(
    site: &Site,
    responder: &mut L::Responder,
    asking: impl Future<Output = Result<T>>,
) -> Result<T> {
    let answered = Cell::new(0);
    let both = async {
        tokio::select! {
            biased;
            done = asking => done,
            ended = serve::<L>(responder, &answered, OPEN) => match ended {
                Err(error) => Err(error.context("the responder broke")),
                Ok(()) => bail!("the responder ended"),
            },
        }
    };
    site.soon("every request is answered", both).await
}

/// Hundreds in flight, answered out of order where that is possible: each gets its own reply.
async fn matching<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let asking = async {
        for number in 0..50 {
            ask(&requester, number).await?;
        }
        try_join_all((0..AT_ONCE).map(|number| ask(&requester, number))).await
    };
    while_served::<L, _>(&site, &mut responder, asking).await.map(drop)
}

/// Requests and replies are bytes, of any size.
async fn bytes<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let asking = async {
        for size in [0, 1, 8, 255, 256, 4096, 65_536, 1 << 20] {
            let request: Bytes = noise(3, size).collect();
            let reply = requester.ask(request.clone().into()).await?;
            ensure!(reply == reply_to(&request), "a request of {size} bytes got a damaged reply");
        }
        Ok(())
    };
    while_served::<L, _>(&site, &mut responder, asking).await
}

/// A request is given up when the responder has it; its late reply must not
/// reach the next to ask, whether it comes before that one's request or after.
async fn late<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let before_and_after: &[bool] = if L::MATCHING == Matching::Lockstep { &[true] } else { &[true, false] };
    for before in before_and_after {
        let given_up = async {
            tokio::select! {
                biased;
                request = responder.next() => request,
                answer = requester.ask(message(1, 100).into()) => bail!("an answer from nobody: {answer:?}"),
            }
        };
        let request = site.soon("the first request comes", given_up).await?;
        let (first, to_first) = request.context("nobody can ask")?;
        let answering = async {
            if *before {
                responder.reply(to_first, reply_to(&first)).await?;
                let (second, to_second) = responder.next().await?.context("nobody can ask")?;
                responder.reply(to_second, reply_to(&second)).await?;
            } else {
                let (second, to_second) = responder.next().await?.context("nobody can ask")?;
                responder.reply(to_first, reply_to(&first)).await?;
                responder.reply(to_second, reply_to(&second)).await?;
            }
            // What was replied is written when the next request is waited for.
            responder.next().await?;
            bail!("a third request came, and nobody had asked")
        };
        let second = async {
            tokio::select! {
                biased;
                asked = ask(&requester, 2) => asked,
                ended = answering => ended,
            }
        };
        site.soon("the second request is answered", second).await?;
    }
    Ok(())
}

/// Many at once, each given up at some point or not: those that are not get their own replies.
async fn cancelled<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let asking = async {
        for wave in 0..10 {
            let asks = noise(wave, 30).zip(0..).map(async |(when, number): (u8, u64)| {
                tokio::select! {
                    biased;
                    asked = ask(&requester, 1000 * wave + number) => asked,
                    () = a_moment(when), if when < 200 => Ok(()),
                }
            });
            try_join_all(asks).await?;
            ask(&requester, 1000 * wave + 999).await?;
        }
        Ok(())
    };
    while_served::<L, _>(&site, &mut responder, asking).await
}

/// Requests that were given up leave nothing behind that would hinder the next.
async fn abandoned<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let asking = async {
        for (number, when) in (0..ABANDONED).zip(noise(5, ABANDONED as usize)) {
            tokio::select! {
                biased;
                asked = ask(&requester, number) => asked?,
                () = a_moment(when % 7) => {}
            }
        }
        for number in 0..20 {
            ask(&requester, ABANDONED + number).await?;
        }
        Ok(())
    };
    let asked = while_served::<L, _>(&site, &mut responder, asking).await;
    asked.with_context(|| format!("among or after {ABANDONED} requests that were given up"))
}

/// Several responders share the requests.
async fn shares<L: RequestReply>(site: Site) -> Result<()> {
    const RESPONDERS: usize = 3;
    let lab = L::open(&site.place_of(RESPONDERS)).await?;
    let responders = try_join_all((0..RESPONDERS).map(|_| lab.responder()));
    let (requester, mut responders) = tokio::try_join!(lab.requester(), responders)?;
    let answered = [const { Cell::new(0) }; RESPONDERS];
    let serving =
        responders.iter_mut().zip(&answered).map(|(responder, count)| serve::<L>(responder, count, 1));
    let asking = async {
        let mut number = 0;
        while answered.iter().any(|count| count.get() == 0) {
            try_join_all((0..6).map(|ahead| ask(&requester, number + ahead))).await?;
            number += 6;
        }
        Ok(())
    };
    let both = async {
        tokio::select! {
            biased;
            asked = asking => asked,
            ended = try_join_all(serving) => bail!("a responder broke: {ended:?}"),
        }
    };
    site.soon("every responder has answered", both).await
}

/// A requester that has gone with its requests open is no trouble to the responder.
async fn vanished<L: RequestReply>(site: Site) -> Result<()> {
    let lab = L::open(&site.place()).await?;
    let (gone, stays, mut responder) = tokio::try_join!(lab.requester(), lab.requester(), lab.responder())?;
    let open = if L::MATCHING == Matching::Lockstep { 1 } else { 20 };
    let mut taken = Vec::new();
    let taking = async {
        let asks = join_all((0..open).map(|number| gone.ask(message(number, 100).into())));
        let take = async {
            while (taken.len() as u64) < open {
                taken.push(responder.next().await?.context("nobody can ask")?);
            }
            Ok(())
        };
        tokio::select! {
            biased;
            taken = take => taken,
            replies = asks => bail!("answers from nobody: {replies:?}"),
        }
    };
    site.soon("the requests come", taking).await?;
    drop(gone);
    for (request, to) in taken {
        let reply = responder.reply(to, reply_to(&request));
        site.soon("a reply to nobody is accepted", reply).await.context("the requester has gone")?;
    }
    let asking = try_join_all((0..20).map(|number| ask(&stays, 100 + number)));
    while_served::<L, _>(&site, &mut responder, asking).await.map(drop)
}

/// Giving up to wait for a request costs none.
async fn cancel<L: RequestReply>(site: Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(&site).await?;
    let taken = Cell::new(0);
    let serving = async {
        for when in noise(9, usize::MAX) {
            let next = tokio::select! {
                biased;
                next = responder.next() => next?,
                () = a_moment(when) => continue,
            };
            let (request, to) = next.context("nobody can ask")?;
            taken.set(taken.get() + 1);
            responder.reply(to, reply_to(&request)).await?;
        }
        anyhow::Ok(())
    };
    let asking = async {
        for wave in 0..20 {
            try_join_all((0..20).map(|number| ask(&requester, 20 * wave + number))).await?;
        }
        Ok(())
    };
    let both = async {
        tokio::select! {
            biased;
            asked = asking => asked,
            ended = serving => bail!("the responder broke: {ended:?}"),
        }
    };
    site.soon("every request is answered", both).await?;
    ensure!(taken.get() == 400, "400 requests were made and {} came", taken.get());
    Ok(())
}

/// Two places do not hear each other.
async fn apart<L: RequestReply>(site: Site) -> Result<()> {
    let neighbour = site.beside();
    let (mut here, mut there) = tokio::try_join!(join::<L>(&site), join::<L>(&neighbour))?;
    let (answered_here, answered_there) = (Cell::new(0), Cell::new(0));
    let asking = async {
        try_join_all((0..50).map(|number| ask(&here.0, number))).await?;
        try_join_all((0..70).map(|number| ask(&there.0, number))).await
    };
    let both = async {
        tokio::select! {
            biased;
            asked = asking => asked.map(drop),
            ended = serve::<L>(&mut here.1, &answered_here, OPEN) => ended,
            ended = serve::<L>(&mut there.1, &answered_there, OPEN) => ended,
        }
    };
    site.soon("every request is answered", both).await?;
    let (here, there) = (answered_here.get(), answered_there.get());
    ensure!((here, there) == (50, 70), "50 and 70 requests were made, and {here} and {there} came");
    L::remove(&neighbour.place()).await
}

/// What is removed is gone: whoever comes to a place of that name starts anew.
async fn remove<L: RequestReply>(site: Site) -> Result<()> {
    L::remove(&site.place()).await.context("removing what was never there")?;
    leave_requests::<L>(&site).await?;
    // What the vanished had written may still lie unread at the broker, and is
    // no matter of `remove`; it has been read when others have had their turn.
    let elsewhere = site.beside();
    let (requester, mut responder) = join::<L>(&elsewhere).await?;
    while_served::<L, _>(&elsewhere, &mut responder, ask(&requester, 76)).await?;
    drop((requester, responder));
    L::remove(&elsewhere.place()).await?;
    for time in ["once", "twice"] {
        L::remove(&site.place()).await.with_context(|| format!("removing it {time}"))?;
    }
    let (requester, mut responder) = join::<L>(&site).await.context("after it was removed")?;
    let asking = ask(&requester, 77);
    let answering = async {
        let (request, to) = responder.next().await?.context("nobody can ask")?;
        ensure!(request.0 == message(77, 100), "a request from before the removal came");
        responder.reply(to, reply_to(&request)).await?;
        responder.next().await.map(drop)
    };
    let both = async {
        tokio::select! {
            biased;
            asked = asking => asked,
            ended = answering => ended,
        }
    };
    site.soon("the new request is answered", both).await
}

/// Leaves requests that nobody has answered, and replies that nobody has read.
async fn leave_requests<L: RequestReply>(site: &Site) -> Result<()> {
    let (requester, mut responder) = join::<L>(site).await?;
    let asks = join_all((0..20).map(|number| requester.ask(message(number, 100).into())));
    let some = async {
        let (request, to) = responder.next().await?.context("nobody can ask")?;
        responder.reply(to, reply_to(&request)).await
    };
    let leaving = async {
        tokio::select! {
            biased;
            some = some => some,
            replies = asks => bail!("all were answered: {} replies", replies.len()),
        }
    };
    site.soon("a request comes", leaving).await
}

/// Nothing stays in the broker.
async fn traces<L: RequestReply>(site: Site) -> Result<()> {
    stream::traces_of::<L>(site, |site| Box::pin(async move { leave_requests::<L>(&site).await })).await
}
