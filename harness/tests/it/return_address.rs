//! Return addresses where a broker carries them: several repliers, requests
//! that cannot be done, requests that kill, and requests that nobody can get.
//! That a requester may vanish, that repliers share, and that nothing stays in
//! the broker, is in the conformance suite (`vanished`, `shares`, `traces`).

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_all, try_join_all};
use labs::apps::answer;
use labs::lab::Broker;
use labs::reqrep::{self, Command, RequestReply, Requester, Responder};
use libtest_mimic::Trial;

use crate::conformance::Site;
use crate::needs::needs;

/// Of each kind.
const ROLES: usize = 3;
const EACH: usize = 100;

pub(crate) fn trials() -> Vec<Trial> {
    fn test<L: RequestReply>(trials: &mut Vec<Trial>) {
        let Some(broker) = L::BROKER else { return };
        for (name, check) in [
            ("each_is_answered_once_and_gets_its_own", shared::<L> as fn(Site) -> _),
            ("what_cannot_be_done_is_answered_with_an_error", poison::<L>),
        ] {
            let name = format!("return_address::{}::{name}", L::TRANSPORT);
            let site = move || Site::new("return-address", L::BROKER);
            trials.push(needs(broker, &name, move || check(site()?)));
        }
    }
    let mut trials = Vec::new();
    test::<reqrep::rabbitmq::RabbitMq>(&mut trials);
    test::<reqrep::nats::Nats>(&mut trials);
    test::<reqrep::redis_stream::RedisStream>(&mut trials);
    trials.push(needs(Broker::RabbitMq, "return_address::rabbitmq::without_a_queue_is_an_error", unroutable));
    trials.push(needs(Broker::Redis, "return_address::redis-stream::what_kills_is_buried", deadly));
    trials
}

fn on<L: RequestReply>(site: &Site, check: impl AsyncFnOnce(&Site, L) -> Result<()>) -> Result<()> {
    let place = site.place();
    harness::roles::runtime(0)?.block_on(async {
        let held = check(site, L::open(&place).await?).await;
        held.and(L::remove(&place).await)
    })
}

/// Three repliers, each of which signs what it answers, and three requesters.
fn shared<L: RequestReply>(site: Site) -> Result<()> {
    on::<L>(&site, async |site, lab| {
        let requesters = try_join_all((0..ROLES).map(|_| lab.requester())).await?;
        let mut responders = try_join_all((0..ROLES).map(|_| lab.responder())).await?;
        let answered: [Cell<u32>; ROLES] = Default::default();
        let mut serving = Vec::new();
        for (responder, count) in responders.iter_mut().zip(&answered) {
            serving.push(
                async move {
                    loop {
                        let (request, to) = responder.next().await?.context("nobody can ask")?;
                        count.set(count.get() + 1);
                        responder.reply(to, request.0.into()).await?;
                        // Those who share come to their turn.
                        tokio::task::yield_now().await;
                    }
                }
                .boxed_local(),
            );
        }
        let asking = join_all(requesters.iter().enumerate().flat_map(|(who, requester)| {
            (0..EACH).map(move |number| async move {
                let text = format!("{who}-{number}");
                let reply = requester.ask(Command::from(text.clone())).await?;
                ensure!(reply.0 == text, "{text} got the reply to {reply:?}");
                Ok(())
            })
        }));
        let all = async {
            tokio::select! {
                asked = asking => asked.into_iter().collect::<Result<()>>(),
                (ended, ..) = select_all(serving) => ended,
            }
        };
        site.soon("every request is answered", all).await?;
        let total: u32 = answered.iter().map(Cell::get).sum();
        ensure!(total as usize == ROLES * EACH, "{total} answers to {} requests", ROLES * EACH);
        Ok(())
    })
}

/// A handler that fails answers all the same: nobody waits, nothing comes again.
fn poison<L: RequestReply>(site: Site) -> Result<()> {
    on::<L>(&site.claiming_soon(), async |site, lab| {
        let (requester, mut responder) = tokio::try_join!(lab.requester(), lab.responder())?;
        let taken = Cell::new(BTreeMap::<String, u32>::new());
        let serving = async {
            loop {
                let (request, to) = responder.next().await?.context("nobody can ask")?;
                let text = String::from_utf8_lossy(&request).into_owned();
                let mut so_far = taken.take();
                *so_far.entry(text.clone()).or_default() += 1;
                taken.set(so_far);
                let number: Result<u32, _> = text.parse();
                let done = number.map(|n| (n * 2).to_string()).map_err(|error| error.to_string());
                responder.reply(to, answer::write(&done).into()).await?;
            }
        };
        let asking = async {
            for (request, good) in [("21", true), ("poison", false), ("4", true), ("", false), ("5", true)] {
                let reply = requester.ask(Command::from(request)).await?;
                let reply = answer::read(std::str::from_utf8(&reply)?).context("no answer")?;
                ensure!(reply.is_ok() == good, "{request} came to {reply:?}");
            }
            Ok(())
        };
        let both = async {
            tokio::select! {
                asked = asking => asked,
                served = serving => served,
            }
        };
        site.soon("all is answered", both).await?;
        let taken = taken.take();
        ensure!(taken.len() == 5 && taken.values().all(|times| *times == 1), "not once each: {taken:?}");
        Ok(())
    })
}

/// `mandatory`: a request that has no queue to go to comes back as an error,
/// and the requester is none the worse for it.
fn unroutable() -> Result<()> {
    type Lab = reqrep::rabbitmq::RabbitMq;
    let site = Site::new("unroutable", Some(Broker::RabbitMq))?;
    on::<Lab>(&site, async |site, lab| {
        let requester = lab.requester().await?;
        <Lab as labs::lab::Lab>::remove(&site.place()).await?;
        let asked = async {
            let all = join_all((0..10).map(|_| requester.ask(Command::from("anybody?")))).await;
            Ok(all.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect::<Vec<_>>())
        };
        let errors = site.soon("the requests come back", asked).await?;
        ensure!(errors.len() == 10, "{} of 10 came back", errors.len());
        let named =
            errors.iter().all(|error| error.contains(&site.place().name()) && error.contains("NO_ROUTE"));
        ensure!(named, "the error does not name the queue and RabbitMQ's reason: {}", errors[0]);

        let lab = <Lab as labs::lab::Lab>::open(&site.place()).await?;
        let mut responder = lab.responder().await?;
        let serving = async {
            let (request, to) = responder.next().await?.context("nobody can ask")?;
            responder.reply(to, request.0.into()).await?;
            responder.next().await.map(drop)
        };
        let both = async {
            tokio::select! {
                reply = requester.ask(Command::from("back")) => reply,
                served = serving => bail!("the responder ended: {served:?}"),
            }
        };
        ensure!(site.soon("the queue is there again", both).await?.0 == "back", "another reply");
        Ok(())
    })
}

/// A request that every responder dies of is buried after so many attempts;
/// what comes after it is answered.
fn deadly() -> Result<()> {
    type Lab = reqrep::redis_stream::RedisStream;
    const ATTEMPTS: u32 = 3;
    let site = Site::new("deadly", Some(Broker::Redis))?.claiming_soon();
    let site = site.with(&[("attempts", ATTEMPTS as usize), ("prefetch", 1)]);
    on::<Lab>(&site, async |site, lab| {
        let requester = lab.requester().await?;
        let died = Cell::new(0);
        let serving = async {
            loop {
                let mut responder = lab.responder().await?;
                loop {
                    let (request, to) = responder.next().await?.context("nobody can ask")?;
                    if request.0 == "poison" {
                        // It takes the responder with it: no reply, no word.
                        died.set(died.get() + 1);
                        break;
                    }
                    responder.reply(to, request.0.into()).await?;
                }
            }
        };
        let asking = async {
            // It will never be answered, and is asked until the rest is done.
            let poison = requester.ask(Command::from("poison"));
            let rest = async {
                while died.get() < ATTEMPTS {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                let replies = join_all((0..20).map(|n| requester.ask(Command::from(format!("{n}"))))).await;
                let mut redis = redis::Client::open(site.url()?)?.get_multiplexed_async_connection().await?;
                let dead = format!("{}:dead", site.place().name());
                loop {
                    let buried: u64 = redis::cmd("XLEN").arg(&dead).query_async(&mut redis).await?;
                    if buried > 0 {
                        ensure!(buried == 1, "{buried} requests were buried");
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                replies.into_iter().collect::<Result<Vec<_>>>()
            };
            tokio::select! {
                reply = poison => bail!("the poison was answered: {reply:?}"),
                replies = rest => replies,
            }
        };
        let both = async {
            tokio::select! {
                replies = asking => replies,
                served = serving => served,
            }
        };
        let replies = site.soon("the rest is answered and the poison is buried", both).await?;
        ensure!(replies.len() == 20, "{} replies", replies.len());
        ensure!(died.get() == ATTEMPTS, "{} responders died of it", died.get());
        Ok(())
    })
}
