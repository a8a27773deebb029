//! `lab break`: faults are named or refused, and every lab that promises something keeps it under
//! a fault that it covers.

use anyhow::{Context as _, Result, ensure};
use harness::fault::campaign::{Brokers, Job, make};
use harness::fault::{BrokerSource, Covered, Fault, Injection, covered, why_not};
use harness::results::{FaultRun, FaultSet, Lock, Verdict};
use harness::roles::handles;
use labs::lab::{Broker, Guarantee};
use libtest_mimic::Trial;

use crate::conformance::shared;
use crate::needs::{needs, often};
use crate::program::{Ran, run};
use crate::result_sets::Redis;
use crate::trial;

/// The fault that every lab is held to in each run of the tests. Continuous integration adds kills
/// and restarts, and `lab break --all` has all.
const HELD: [&str; 1] = ["link-cut"];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("breaking::what_cannot_be_done_is_refused_by_name", refused),
        trial("breaking::faults_are_listed", listed),
        trial("breaking::several_runs_are_kept_and_go_on", resumed),
        trial("breaking::plan_file_is_followed", plan_file),
        trial("broken::recovery", broken),
        needs(Broker::Redis, "breaking::broker_restart_is_survived", restarted),
        needs(Broker::Redis, "breaking::own_broker_is_left_alone", own_broker),
    ];
    for handle in handles() {
        let entry = handle.entry;
        if entry.guarantee == Guarantee::AtMostOnce {
            continue;
        }
        for fault in HELD.map(|name| name.parse::<Fault>().expect("a fault")) {
            let applies = why_not(fault, &entry, BrokerSource::Private).is_none();
            if !applies || covered(entry.guarantee, fault, &entry) != Covered::Yes {
                continue;
            }
            let (lab, name) = (entry.name.clone(), format!("breaking::{}::{fault}", entry.name));
            let broker = entry.broker;
            let held = move || kept(&lab, fault, broker);
            let trial = match entry.broker {
                Some(broker) => needs(broker, &name, held),
                None => trial(&name, held),
            };
            trials.push(often(&entry, trial));
        }
    }
    trials
}

/// The only run that was printed.
fn account(ran: &Ran) -> Result<FaultRun> {
    serde_json::from_str(&ran.out).with_context(|| format!("no account:\n{}{}", ran.out, ran.err))
}

/// A broken promise is a failure. Too little said on a busy machine is not: it is tried again.
/// `over` is the broker that tests share, where the fault leaves it alone.
fn kept(lab: &str, fault: Fault, over: Option<Broker>) -> Result<()> {
    let fault = fault.to_string();
    let url = over.map(|broker| Ok::<_, anyhow::Error>(format!("{broker}={}", shared(broker)?.reveal())));
    let url = url.transpose()?;
    for seed in ["1", "2", "3"] {
        let mut words = vec!["break", lab, "--fault", &fault, "--seed", seed, "--json"];
        words.extend(url.iter().flat_map(|url| ["--url", url.as_str()]));
        let ran = run(&words)?;
        let found = account(&ran)?;
        let words = serde_json::to_string_pretty(&found.witness)?;
        ensure!(found.verdict != Verdict::Broke, "{lab} broke its promise: {}\n{words}", found.why);
        if found.verdict == Verdict::Kept {
            ensure!(ran.code == 0, "exit code {}", ran.code);
            ensure!(
                found.counts.confirmed_lost.total() == 0 && found.counts.received > 0,
                "{:?}",
                found.counts
            );
            ensure!(found.faults.len() == 1 && found.faults[0].began_ns > 0, "{:?}", found.faults);
            return Ok(());
        }
    }
    anyhow::bail!("three times nobody could tell whether {lab} keeps its promise under {fault}")
}

/// A lab that breaks its promise is never said to keep it. (For queues the run ends with *cannot tell*:
/// only the producer can look into its own store.)
fn broken() -> Result<()> {
    // While the consumer is paused, messages wait in the producer's store.
    let stored = [("receiver-pause", 1.0), ("sender-restart", 1.3)];
    for (lab, faults, keeps) in [
        // Its log is removed at each start.
        ("queue-starts-anew", &stored[..], false),
        ("queue-tcp", &stored, true),
        // Nobody opens its connection again.
        ("queue-acks-at-once", &[("link-cut", 1.0)], false),
        ("queue-tcp", &[("link-cut", 1.0)], true),
        // It connects again, and gets nothing any more.
        ("pubsub-tcp-forgets-subscription", &[("link-cut", 1.0)], false),
        ("pubsub-tcp", &[("link-cut", 1.0)], true),
    ] {
        let handle = crate::conformance::handles().into_iter().find(|handle| handle.entry.name == lab);
        let handle = handle.with_context(|| format!("there is no {lab}"))?;
        let injections = faults.iter().map(|(name, at)| Ok(Injection::new(name.parse()?, *at)));
        let injections = injections.collect::<Result<Vec<_>>>()?;
        let job = Job {
            handle,
            knobs: [("prefetch".to_owned(), 4)].into(),
            seconds: injections.iter().map(Injection::end_s).fold(0.0, f64::max) + 2.5,
            injections,
            seed: 1,
            rate: 200.0,
            size: 64,
            senders: 1,
            receivers: 1,
            drain: 10.0,
            command: String::new(),
        };
        let mut brokers = Brokers::new(Default::default(), Vec::new());
        let run = harness::roles::runtime(0)?.block_on(make(&job, &mut brokers, &mut |_| {}));
        let run = run.with_context(|| format!("{lab} under {faults:?}"))?;
        let (verdict, why) = (run.verdict, run.why);
        ensure!((verdict == Verdict::Kept) == keeps, "{lab} under {faults:?}: {verdict}, {why}");
        ensure!(run.counts.received > 0, "{lab} under {faults:?}: {:?}", run.counts);
    }
    Ok(())
}

fn refused() -> Result<()> {
    for (words, said) in [
        (vec!["oneway-tcp"], "name a fault"),
        (vec![], "name one lab"),
        (vec!["oneway-tcp", "oneway-unix", "--fault", "link-cut"], "name one lab"),
        (vec!["oneway-tpc", "--fault", "link-cut"], "oneway-tcp"),
        (vec!["oneway-tcp", "--fault", "link-kut"], "did you mean `link-cut`"),
        (vec!["oneway-tcp", "--fault", "broker-kill"], "has no broker"),
        (vec!["oneway-inproc", "--fault", "sender-kill"], "No fault applies"),
        (vec!["oneway-tcp", "--fault", "worker-kill"], "only pipelines have"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--at", "1000"], "1000 s"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--for", "1"], "cannot last 1 s"),
        (vec!["oneway-tcp", "--fault", "sender-pause", "--for", "0"], "needs a length"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--rate", "0"], "0 messages a second"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--size", "1"], "1 bytes"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--seeds", "0"], "0 runs"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--seeds", "1000000000"], "give 1 to 1000"),
        (vec!["oneway-tcp", "--fault", "link-cut", "--broker-set", "a=b"], "oneway-tcp has no broker"),
        (vec!["oneway-tcp", "--plan", "/nowhere/x.toml"], "/nowhere/x.toml"),
        (vec!["queue-redis", "--fault", "link-cut", "--broker-set", "appendfsync"], "NAME=VALUE"),
        (vec!["queue-redis", "--fault", "link-cut", "--broker-set", "port=1"], "`port` is set by lab"),
        (vec!["queue-redis", "--fault", "link-cut", "--broker-set", "a=b\nc"], "not a value"),
    ] {
        let ran = run(&[&["break"], words.as_slice()].concat())?;
        let ran = ran.expect(2).with_context(|| format!("{words:?}"))?;
        ran.told(&[said]).with_context(|| format!("{words:?}"))?;
    }
    Ok(())
}

fn listed() -> Result<()> {
    let all = run(&["break", "list"])?.expect(0)?;
    ensure!(all.out.contains("link-blackhole") && all.out.contains("kill -9 of the broker"), "{}", all.out);
    let one = run(&["break", "list", "queue-tcp", "--json"])?.expect(0)?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&one.out)?;
    let row = |fault: &str| rows.iter().find(|row| row["fault"] == fault).cloned().unwrap_or_default();
    ensure!(row("sender-restart")["covered"] == "covered", "{}", row("sender-restart"));
    ensure!(row("broker-kill")["why_not"].as_str().is_some_and(|why| why.contains("no broker")));
    Ok(())
}

/// What was done is kept, and not done again.
fn resumed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("faults");
    let folder = out.to_str().context("a path")?;
    let some = ["break", "--all", "oneway-tcp", "--fault", "link-cut", "--out", folder];
    run(&some)?.expect(0)?;
    let set = FaultSet::open(&out)?;
    ensure!(set.runs.len() == 1 && set.runs[0].verdict == Verdict::Kept, "{:?}", set.runs);
    let more = ["break", "--all", "oneway-tcp", "--fault", "link-cut,sender-restart", "--out", folder];
    let ran = run(&more)?.expect(0)?;
    ensure!(!ran.out.contains("link-cut"), "it was done again: {}", ran.out);
    let more = FaultSet::open(&out)?;
    ensure!(more.runs.len() == 2 && more.runs[0] == set.runs[0], "the first run is as it was");
    // Runs with other settings are not taken for these, and another program's are not mixed with ours.
    run(&[some.as_slice(), &["--rate", "400"]].concat())?.expect(1)?.told(&["give the same options"])?;
    let mut other = more.clone();
    other.versions.lab = "0.0.1".to_owned();
    other.save(&out)?;
    run(&some)?.expect(1)?.told(&["cannot be continued", "0.0.1"])?;
    more.save(&out)?;
    // One that writes keeps others out.
    let lock = Lock::of(&out)?;
    run(&some)?.expect(1)?.told(&["another `lab` is writing"])?;
    drop(lock);
    Ok(())
}

fn plan_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("plan.toml");
    std::fs::write(
        &file,
        "heal_s = 3\n[[fault]]\nname = 'link-cut'\nat_s = 0.5\n[[fault]]\nname = 'receiver-pause'\nat_s = 1\nfor_s = 0.25\n",
    )?;
    let ran = run(&["break", "oneway-unix", "--plan", file.to_str().context("a path")?, "--json"])?;
    let found = account(&ran)?;
    ensure!(found.fault() == "link-cut+receiver-pause", "{:?}", found.faults);
    let [cut, pause] = found.faults.as_slice() else { anyhow::bail!("{:?}", found.faults) };
    ensure!(cut.asked_ns == 500_000_000 && cut.began_ns >= cut.asked_ns, "{cut:?}");
    ensure!(pause.healed_ns >= pause.began_ns + 200_000_000, "{pause:?}");
    ensure!(found.events.iter().any(|event| event.detail == "link-cut"), "{:?}", found.events);
    // 500 a second until 3 s after the last fault, which ends after 1.25 s, and half a second more.
    ensure!(found.counts.sent == 2_375, "{} sent", found.counts.sent);
    Ok(())
}

fn restarted() -> Result<()> {
    kept("queue-redis", "broker-restart".parse()?, None)?;
    kept("durable-redis-stream", "sender-restart".parse()?, None)
}

/// Its links can be broken; it itself is not touched.
fn own_broker() -> Result<()> {
    let mut redis = Redis::start()?;
    let url = format!("redis={}", redis.url);
    let ran = run(&["break", "queue-redis", "--fault", "broker-kill", "--url", &url])?.expect(2)?;
    ran.told(&["--url"])?;
    let ran = run(&["break", "queue-redis", "--fault", "link-cut", "--url", &url, "--json"])?;
    let found = account(&ran)?;
    ensure!(found.verdict != Verdict::Broke, "{}", found.why);
    ensure!(redis.child.try_wait()?.is_none(), "the user's own Redis was ended");
    ensure!(redis.keys()? == 0, "{} keys stay in the user's own Redis", redis.keys()?);
    Ok(())
}
