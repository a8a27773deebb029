//! For each promise a lab that breaks exactly this one, and the proof that the
//! suite notices: the check passes where nothing is broken, and fails for the
//! broken lab, for the reason it was made to find.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use labs::catalog::Pattern;
use labs::durable::redis_stream::RedisStream;
use labs::lab::{Broker, Guarantee, Join, Knob, Lab, Overload, Place, Recovery};
use labs::oneway::{self as way, OneWay};
use labs::queue::redis::RedisList;
use libtest_mimic::Trial;

use super::faulty::fault::*;
use super::faulty::queue::{ACKS_AT_ONCE, HASTY, Outbox, STARTS_ANEW};
use super::faulty::{FAULT, Faulty, SAYS_DISCONNECTS, SAYS_DROPS, SAYS_STORES, SAYS_WAITS};
use super::killed::{consumer_killed, producer_killed};
use super::place::Site;
use super::queue::confirmed_when_acked;
use super::together::together;
use super::zero::at_zero;
use super::{
    Promise, declared, durable, oneway, overload, pipeline, promises, pubsub, queue, queue_kept, reqrep,
    survival, trial,
};

/// How long a broken lab is waited for at first: what it does not do, it never does.
const PATIENCE: Duration = Duration::from_secs(3);

type Whole = Faulty<SAYS_WAITS>;

const AGAIN: &str = "foreign messages came again";

pub(super) fn trials() -> Vec<Trial> {
    let one_way =
        |promise, fault, because| proof("oneway", oneway::promises::<Whole>, promise, fault, because);
    let req_rep =
        |promise, fault, because| proof("reqrep", reqrep::promises::<Whole>, promise, fault, because);
    let pub_sub =
        |promise, fault, because| proof("pubsub", pubsub::promises::<Whole>, promise, fault, because);
    let line =
        |promise, fault, because| proof("pipeline", pipeline::promises::<Whole>, promise, fault, because);
    let store = |promise, fault, because| proof("queue", queue::promises::<Whole>, promise, fault, because);
    let keep =
        |promise, fault, because| proof("durable", durable::promises::<Whole>, promise, fault, because);
    vec![
        one_way("order", SWAPS, "came after"),
        one_way("loss", LOSES, "messages are missing"),
        one_way("bytes", DAMAGES, "others came"),
        one_way("flush", LAZY_FLUSH, "a flushed message comes without a further send: not within"),
        one_way("cancel", DROPS_TAKEN, ""),
        one_way("close", CLOSES_EARLY, "messages came after the close"),
        one_way("apart", HEARS_OTHERS, "the other place was heard"),
        one_way("remove", LEAVES_THINGS, "from before the removal came"),
        one_way("overload", NEVER_WAITS, "the sender does not wait"),
        proof("lab", || promises![Whole: together], "together", TURNS_AWAY, "was turned away"),
        one_way("senders", DEAF, "all of every sender comes: not within"),
        says::<SAYS_STORES>("stores", FORGETS, "messages are missing"),
        says::<SAYS_DROPS>("drops", NEVER_WAITS, "nothing was dropped"),
        says::<SAYS_DROPS>("drops_early", DROPS_EARLY, "that the buffer is said to hold"),
        says::<SAYS_DROPS>("drops_on", DROPS_ON, "to a receiver that keeps up"),
        trial("broken::oneway_overload_drops_honestly".to_owned(), None, drops_honestly),
        says::<SAYS_DISCONNECTS>("disconnects", NEVER_WAITS, "was never cut off"),
        req_rep("matching", WRONG_REPLY, "got a reply that is not its own"),
        req_rep("late", LATE_REPLY, "got a reply that is not its own"),
        req_rep("cancelled", LATE_REPLY, "got a reply that is not its own"),
        req_rep("abandoned", LEAKS, "no slot is free"),
        req_rep("shares", ONE_RESPONDER, "every responder has answered: not within"),
        req_rep("vanished", FRAGILE, "the requester has gone"),
        req_rep("cancel", DROPS_TAKEN, "every request is answered: not within"),
        req_rep("orphaned", NEVER_AGAIN, "every request is answered: not within"),
        req_rep("bytes", DAMAGES, "damaged reply"),
        req_rep("apart", HEARS_OTHERS, "requests were made, and"),
        req_rep("remove", LEAVES_THINGS, "from before the removal came"),
        pub_sub("filters", IGNORES_FILTER, "which it does not match"),
        pub_sub("refuses", TAKES_ANY_FILTER, "was accepted"),
        pub_sub("copies", ONE_COPY, "of 3"),
        pub_sub("late", REPLAYS, "from before it joined came"),
        pub_sub("joined", JOINS_LATE, "the first event after joining is heard: not within"),
        line("once", TWICE, "came more than once"),
        line("redelivered", NEVER_AGAIN, "messages have not come"),
        line("sharing", UNFAIR, "the fast worker gets most of the tasks: not within"),
        line("control", ONE_COPY, "stop reaches every worker: not within"),
        store("in_flight", SWAPS, "after one that was sent later"),
        store("confirmed", CONFIRMS_EARLY, "messages have not come"),
        store("once", TWICE, "came more than once"),
        store("prefetch", IGNORES_PREFETCH, "were unsettled"),
        store("ack", ACKED_AGAIN, "was acked and came again"),
        store("nack", UNMARKED, "is marked as attempt 1"),
        store("redelivered", NEVER_AGAIN, "messages have not come"),
        store("returns", KEEPS, "messages have not come"),
        proof_of("queue", "dead_never", queue::promises::<Whole>, "dead", NEVER_DEAD, "came again after"),
        proof_of("queue", "dead_twice", queue::promises::<Whole>, "dead", DEAD_TWICE, "2 dead letters"),
        proof_of("queue", "dead_uncounted", queue::promises::<Whole>, "dead", TWO_FOR_EVER, "as attempt 2"),
        keep("missed", MISSES, "events have not come"),
        proof_of("durable", "missed_order", durable::promises::<Whole>, "missed", BACKWARDS, "is not marked"),
        keep("acked", ACKED_AGAIN, "was acked and came again"),
        keep("again", UNMARKED, "marked as attempt 1"),
        proof_of(
            "durable",
            "again_at_all",
            durable::promises::<Whole>,
            "again",
            NEVER_AGAIN,
            "have not come",
        ),
        keep("nack", NEVER_AGAIN, "what was nacked"),
        keep("returns", KEEPS, "events have not come"),
        keep("copies", ONE_COPY, "a durable subscriber who was there: "),
        keep("filters", IGNORES_FILTER, "which it does not match"),
        keep("refuses", TAKES_ANY_FILTER, "was accepted"),
        keep("forgotten", NEVER_FORGETS, "kept for one who was forgotten"),
        keep("stored", FORGETS, "messages are missing"),
        keep("first", REPLAYS, "from before it first came came"),
        keep("prefetch", IGNORES_PREFETCH, "were unsettled"),
        one_way("foreign_bodies", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        line("foreign_results", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        pub_sub("foreign_events", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        req_rep("foreign_requests", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        store("foreign_entries", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        keep("foreign_events_kept", ENDS_AT_FOREIGN, "this is not a message of a lab"),
        uncounted("oneway", oneway::promises::<Whole>, "foreign_bodies"),
        uncounted("pipeline", pipeline::promises::<Whole>, "foreign_results"),
        uncounted("pubsub", pubsub::promises::<Whole>, "foreign_events"),
        uncounted("reqrep", reqrep::promises::<Whole>, "foreign_requests"),
        uncounted("queue", queue::promises::<Whole>, "foreign_entries"),
        uncounted("durable", durable::promises::<Whole>, "foreign_events_kept"),
        proof_of("queue", "foreign_again", queue::promises::<Whole>, "foreign_entries", FOREIGN_AGAIN, AGAIN),
        proof_of(
            "durable",
            "foreign_again",
            durable::promises::<Whole>,
            "foreign_events_kept",
            FOREIGN_AGAIN,
            AGAIN,
        ),
        outbox("queue_confirmed_when_acked", promises![Outbox<HASTY>: confirmed_when_acked], "are not acked"),
        outbox("queue_consumer_killed", promises![Outbox<ACKS_AT_ONCE>: consumer_killed], "come again: not"),
        outbox("queue_producer_killed", promises![Outbox<STARTS_ANEW>: producer_killed], "have not come"),
        trial("broken::queue_durable".to_owned(), Some(Broker::Redis), forgetful),
        trial("broken::durable_survives".to_owned(), Some(Broker::Redis), forgets),
        trial("broken::untested_durable".to_owned(), None, untested),
        trial("broken::oneway_knobs".to_owned(), None, hides_knobs),
        trial("broken::oneway_zero".to_owned(), None, fails_at_zero),
        trial("broken::oneway_traces".to_owned(), Some(Broker::Redis), litters),
    ]
}

fn proof(
    pattern: &str,
    promises: fn() -> Vec<Promise>,
    name: &'static str,
    fault: usize,
    because: &'static str,
) -> Trial {
    proof_of(pattern, name, promises, name, fault, because)
}

/// As [`proof`], of a promise that is broken in more than one way.
fn proof_of(
    pattern: &str,
    case: &str,
    promises: fn() -> Vec<Promise>,
    name: &'static str,
    fault: usize,
    because: &'static str,
) -> Trial {
    let what = format!("{pattern}_{case}");
    trial(format!("broken::{what}"), None, move || {
        let Some(promise) = promises()
            .into_iter()
            .find(|promise| promise.name == name || promise.name.ends_with(&format!("_{name}")))
        else {
            bail!("there is no check of `{name}`");
        };
        let site = || Site::new(&what, None);
        promise.hold(site()?).map_err(|error| error.context("a lab that keeps it is accused"))?;
        noticed(&promise, site()?.with(&[("fault", fault)]), because)
    })
}

/// A lab that skips what no lab wrote, and does not say so.
fn uncounted(pattern: &str, promises: fn() -> Vec<Promise>, name: &'static str) -> Trial {
    let because = "1 foreign messages are counted as skipped: not within";
    proof_of(pattern, &format!("{name}_uncounted"), promises, name, IGNORES_FOREIGN, because)
}

/// A lab that does otherwise than it says it does under overload.
fn says<const SAYS: u8>(what: &'static str, fault: usize, because: &'static str) -> Trial {
    trial(format!("broken::oneway_overload_{what}"), None, move || {
        let check = overload::overload::<oneway::Way<Faulty<SAYS>>>;
        let promise = Promise::of::<Faulty<SAYS>, _>("overload", check);
        noticed(&promise, Site::new(what, None)?.with(&[("fault", fault)]), because)
    })
}

/// A lab that drops as it says is not accused.
fn drops_honestly() -> Result<()> {
    type Honest = Faulty<SAYS_DROPS>;
    let promise = Promise::of::<Honest, _>("overload", overload::overload::<oneway::Way<Honest>>);
    promise.hold(Site::new("drops-honestly", None)?)
}

/// A lab with a fault; another check shows that one without it passes.
pub(super) fn fault(what: &'static str, promise: Promise, because: &'static str) -> Trial {
    trial(format!("broken::{what}"), None, move || noticed(&promise, Site::new(what, None)?, because))
}

/// An outbox with this fault; `queue-tcp`, without it, passes the same check.
fn outbox(what: &'static str, promises: Vec<Promise>, because: &'static str) -> Trial {
    trial(format!("broken::{what}"), None, move || {
        promises.iter().try_for_each(|promise| noticed(promise, Site::new(what, None)?, because))
    })
}

/// The check fails, names the promise, and says why. On a slow machine what a lab
/// does keep may take longer than the patience with it: then there is more.
fn noticed(promise: &Promise, mut site: Site, because: &str) -> Result<()> {
    for patience in [PATIENCE, 5 * PATIENCE] {
        if fails(promise, site.clone().with_patience(patience), because).is_ok() {
            return Ok(());
        }
        site = site.anew();
    }
    fails(promise, site.with_patience(25 * PATIENCE), because)
}

/// The check fails, names the promise, and says why.
fn fails(promise: &Promise, site: Site, because: &str) -> Result<()> {
    let Err(error) = promise.hold(site) else {
        bail!("the promise `{}` is broken, and the suite does not notice", promise.name);
    };
    let text = format!("{error:#}");
    ensure!(text.starts_with(&format!("{}: ", promise.name)), "the error does not name the promise: {text}");
    ensure!(text.contains(because), "the check failed for another reason than `{because}`: {text}");
    Ok(())
}

/// A durable queue over a Redis that keeps no log.
fn forgetful() -> Result<()> {
    let promise =
        Promise::of::<RedisList, _>("durable", |site| queue_kept::survives::<RedisList>(site, false));
    let site = Site::new("durable", Some(Broker::Redis))?;
    noticed(&promise, site, "messages have not come: a delivery comes: not within")
}

/// Durable subscribers over a Redis that keeps no log.
fn forgets() -> Result<()> {
    type Forgetful = durable::Kept<RedisStream>;
    let promise =
        Promise::of::<Forgetful, _>("survives", |site| survival::survives::<Forgetful>(site, false));
    let site = Site::new("survives", Some(Broker::Redis))?;
    noticed(&promise, site, "messages have not come: a message comes: not within")
}

/// Says that it is durable, and nobody has looked.
fn untested() -> Result<()> {
    let promises = queue::promises::<RedisList>();
    survival::is_put_to_the_test::<RedisList>(Pattern::Queue, &promises)?;
    let others: Vec<Promise> = promises.into_iter().filter(|promise| promise.name != "durable").collect();
    let Err(error) = survival::is_put_to_the_test::<RedisList>(Pattern::Queue, &others) else {
        bail!("a lab says that it is durable, nobody has looked, and the suite does not notice");
    };
    ensure!(error.to_string().contains("no check kills"), "for another reason: {error}");
    Ok(())
}

/// Reads knobs, and declares others.
fn hides_knobs() -> Result<()> {
    let site = Site::new("knobs", None)?;
    let promises = promises![Whole: together];
    promises.iter().try_for_each(|promise| promise.hold(site.clone()))?;
    let asked = site.knobs_asked();
    declared(&asked, Whole::KNOBS).context("a lab that declares its knobs is accused")?;
    for (knobs, because) in
        [(vec![], "`fault` is read and not in KNOBS"), (vec![Knob { default: 7, ..FAULT }], "the default 0")]
    {
        let Err(error) = declared(&asked, &knobs) else { bail!("{knobs:?} passes for {asked:?}") };
        ensure!(error.to_string().contains(because), "for another reason: {error}");
    }
    Ok(())
}

/// Panics where a knob is 0, itself or in a task.
fn fails_at_zero() -> Result<()> {
    let site = Site::new("zero", None)?;
    let whole = promises![Whole: together];
    at_zero(&[FAULT], &site, &whole[0]).context("a lab that takes 0 is accused")?;
    async fn panics<L: Lab>(site: Site) -> Result<()> {
        assert!(site.place().knob(FAULT) > 0, "no room over {}", L::TRANSPORT);
        Ok(())
    }
    async fn panics_elsewhere<L: Lab>(site: Site) -> Result<()> {
        Ok(tokio::spawn(
            async move { assert!(site.place().knob(FAULT) > 0, "no room over {}", L::TRANSPORT) },
        )
        .await?)
    }
    for promises in [promises![Whole: panics], promises![Whole: panics_elsewhere]] {
        let Err(error) = at_zero(&[FAULT], &site, &promises[0]) else {
            bail!("a lab that cannot take 0 passes")
        };
        ensure!(error.to_string().contains("`fault` = 0"), "for another reason: {error}");
    }
    Ok(())
}

/// Leaves a key behind.
fn litters() -> Result<()> {
    for promise in oneway::promises::<Litter>().iter().filter(|promise| promise.name == "traces") {
        noticed(promise, Site::new("traces", Some(Broker::Redis))?, "stay in Redis")?;
    }
    Ok(())
}

/// The list of `oneway-redis`, never removed.
struct Litter(way::redis::RedisList);

impl Lab for Litter {
    const TRANSPORT: &'static str = "litter";
    const BROKER: Option<Broker> = Some(Broker::Redis);
    const GUARANTEE: Guarantee = Guarantee::AtMostOnce;
    const OVERLOAD: Overload = Overload::Waits;
    const JOIN: Join = Join::Confirmed;
    const RECOVERY: Recovery = Recovery::Nobody;

    async fn open(place: &Place) -> Result<Self> {
        way::redis::RedisList::open(place).await.map(Self)
    }

    async fn remove(_: &Place) -> Result<()> {
        Ok(())
    }
}

impl OneWay for Litter {
    type Sender = way::redis::ListSender;
    type Receiver = way::redis::ListReceiver;
    async fn sender(&self) -> Result<Self::Sender> {
        self.0.sender().await
    }
    async fn receiver(&self) -> Result<Self::Receiver> {
        self.0.receiver().await
    }
}
