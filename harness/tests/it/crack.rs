//! `lab crack`: over every pipeline a word is found and everybody stops;
//! every word is tried and counted once, whoever dies, leaves or comes; nothing
//! stays in the broker.

use anyhow::{Context as _, Result, ensure};
use harness::broker::Server;
use harness::process::{runs, signal};
use labs::catalog::{self, Entry, Pattern};
use labs::lab::{Broker, Guarantee};
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::conformance::{Site, nothing_left, own};
use crate::interop::script;
use crate::needs::{Need, needs, proof};
use crate::program::{Live, Ran, run, used};
use crate::{trial, wait_until};

/// `printf dcba | sha1sum`.
const DCBA: &str = "1c2ac638c61bcdbc434fc74649e281bcb1381da2";
/// That of the empty word, which no key space has.
const NONE: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
/// Words of 1 to 5 letters over 18: seconds of work in a build without optimisation.
const SECONDS: [&str; 4] = ["--alphabet", "a-r", "--max-length", "5"];
const WORDS_OF_SECONDS: u64 = 18 + 324 + 5832 + 104_976 + 1_889_568;
/// A worker in another language, among the clients that nobody here has written.
const STRANGER: &str = "crack_worker.py";
/// More words than any test waits for.
const ENDLESS: [&str; 6] = ["--alphabet", "a-z", "--max-length", "9", "--batch", "5000"];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("crack::what_cannot_be_is_a_usage_error", usage),
        trial("crack::every_word_is_tried_and_counted_once", exhausts),
        trial("crack::a_comparison_tries_every_word_each_way", compares),
        trial("crack::helpers_join_over_zeromq", || helped("zeromq", None)),
        trial("crack::helpers_join_over_tcp", || helped("tcp", None)),
        needs(Broker::Redis, "crack::helpers_join_over_redis", || helped("redis", Some(Broker::Redis))),
        needs(Broker::Redis, "crack::a_helper_gives_its_tasks_back", gives_back),
        needs(Broker::Redis, "crack::without_a_worker_it_ends_with_an_error", deserted),
        needs(Broker::Redis, "crack::false_reports_are_refused", forged),
        needs(Need::Module("zmq"), "crack::a_worker_in_another_language_takes_part", strange),
    ];
    for entry in catalog::entries().into_iter().filter(|entry| entry.pattern == Pattern::Pipeline) {
        let broker = entry.broker;
        if entry.transport != "inproc" {
            let (name, entry) =
                (format!("crack::a_worker_is_killed_over_{}", entry.transport), entry.clone());
            // The others are left to `./run prove`: they differ from these in their transport alone.
            let often = ["tcp", "redis"].contains(&entry.transport);
            let killed = needs(broker, &name, move || killed(&entry));
            trials.push(if often { killed } else { proof(killed) });
        }
        let name = format!("crack::finds_and_stops_over_{}", entry.transport);
        trials.push(needs(broker, &name, move || finds(&entry)));
    }
    trials
}

/// A broker that is alone with the test, except for RabbitMQ, which takes long
/// to start and can be asked for what it holds by name.
struct Own {
    broker: Broker,
    site: Site,
    server: Option<(Server, TempDir)>,
    runtime: tokio::runtime::Runtime,
}

impl Own {
    fn start(broker: Option<Broker>) -> Result<Option<Self>> {
        let Some(broker) = broker else { return Ok(None) };
        let runtime = harness::roles::runtime(0)?;
        let (site, server) = match broker {
            Broker::RabbitMq => (Site::new("crack", Some(broker))?, None),
            _ => {
                let started = runtime.block_on(own(broker, true))?;
                (Site::at("crack", Some(started.0.address().clone())), Some(started))
            }
        };
        Ok(Some(Self { broker, site, server, runtime }))
    }

    fn url(&self) -> Result<String> {
        Ok(format!("{}={}", self.broker, self.site.url()?))
    }

    /// Nothing of the search at this place is left.
    fn ends_clean(self, place: &str) -> Result<()> {
        self.runtime.block_on(nothing_left(self.broker, &self.site.called(place)))?;
        match self.server {
            Some((server, _dir)) => self.runtime.block_on(server.stop()),
            None => Ok(()),
        }
    }
}

/// `lab crack` over this transport, with the broker's address where there is one.
fn arguments(over: &str, own: Option<&Own>, rest: &[&str]) -> Result<Vec<String>> {
    let mut args: Vec<String> = ["crack", "--json", "--over", over].map(str::to_owned).to_vec();
    args.extend(rest.iter().map(|arg| (*arg).to_owned()));
    if let Some(own) = own {
        args.extend(["--url".to_owned(), own.url()?]);
    }
    Ok(args)
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn lines(ran: &Ran) -> Result<Vec<Value>> {
    ran.out.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// What is said of this kind, once.
fn said(ran: &Ran, what: &str) -> Result<Value> {
    let of: Vec<Value> = lines(ran)?.into_iter().filter(|line| line["what"] == what).collect();
    ensure!(of.len() == 1, "`{what}` is said {} times:\n{}{}", of.len(), ran.out, ran.err);
    Ok(of[0].clone())
}

fn place(ran: &Ran) -> Result<String> {
    said(ran, "open")?["place"].as_str().map(str::to_owned).context("no place")
}

fn number(result: &Value, field: &str) -> Result<u64> {
    result[field].as_u64().with_context(|| format!("no `{field}` in {result}"))
}

/// All that the workers say they did is what the sink says was tried.
fn shares_add_up(result: &Value) -> Result<()> {
    let shares = result["workers"].as_object().context("no workers")?;
    let sum: u64 = shares.values().filter_map(|share| share["words"].as_u64()).sum();
    ensure!(sum == number(result, "tried")?, "the workers' words are {sum}: {result}");
    Ok(())
}

fn finds(entry: &Entry) -> Result<()> {
    let own = Own::start(entry.broker)?;
    let rest = [DCBA, "--alphabet", "a-h", "--max-length", "4", "--batch", "50", "--workers", "3"];
    let ran = run(&strs(&arguments(entry.transport, own.as_ref(), &rest)?))?.expect(0)?;
    let result = said(&ran, "result")?;
    ensure!(result["found"] == "dcba", "{result}");
    ensure!(number(&result, "stop_heard")? == 3, "not all have heard stop: {result}");
    ensure!(result["stop_unanswered"].as_array().is_some_and(Vec::is_empty), "{result}");
    ensure!(number(&result, "died")? == 0, "{result}\n{}", ran.err);
    shares_add_up(&result)?;
    own.map_or(Ok(()), |own| own.ends_clean(&place(&ran)?))
}

fn exhausts() -> Result<()> {
    let rest = [NONE, "--alphabet", "a-h", "--max-length", "4", "--batch", "77", "--workers", "2"];
    let ran = run(&strs(&arguments("tcp", None, &rest)?))?.expect(1)?;
    let (result, words) = (said(&ran, "result")?, 8 + 64 + 512 + 4096);
    ensure!(result["found"].is_null() && result["exhausted"] == true, "{result}");
    ensure!(number(&result, "tried")? == words && number(&result, "words")? == words, "{result}");
    shares_add_up(&result)?;
    let told = run(&["crack", NONE, "--alphabet", "a-c", "--max-length", "3", "--over", "tcp"])?.expect(1)?;
    ensure!(told.out.contains("not found: all 39 words were tried"), "{}", told.out);
    Ok(())
}

/// kill -9 of a worker at work: where the transport gives its tasks to others
/// nothing is issued again, elsewhere what is missing is. No word is left out
/// and none is counted twice.
fn killed(entry: &Entry) -> Result<()> {
    let own = Own::start(entry.broker)?;
    // Tasks are long enough for it to be in the middle of one.
    let mut rest = vec![NONE, "--batch", "20000", "--workers", "2"];
    rest.extend(SECONDS);
    let soon: Vec<String> = entry
        .knobs
        .iter()
        .filter(|knob| ["claim-ms", "lease-ms"].contains(&knob.name))
        .flat_map(|knob| ["--set".to_owned(), format!("{}=1000", knob.name)])
        .collect();
    rest.extend(soon.iter().map(String::as_str));
    let mut live = Live::start(&strs(&arguments(entry.transport, own.as_ref(), &rest)?))?;
    live.until_said("worker-2 has joined")?;
    live.until_said("worker-1 has joined")?;
    // More than joining took: it has tasks in hand.
    let joined = live.below("worker-1").into_iter().map(used).max().unwrap_or(0);
    let victim = live.until_at_work("worker-1", joined + 10)?;
    // It stands still while the other works on: what is given to it meanwhile it has in hand, too.
    signal(victim, Signal::STOP);
    let other = live.until_at_work("worker-2", 0)?;
    live.until_at_work("worker-2", used(other) + 10)?;
    signal(victim, Signal::KILL);
    live.until_said("worker-1 has died, killed by signal 9 (SIGKILL)")?;
    let ran = live.end()?.expect(1)?;
    let result = said(&ran, "result")?;
    ensure!(number(&result, "died")? == 1, "{result}");
    ensure!(number(&result, "tried")? == WORDS_OF_SECONDS, "words were lost: {result}\n{}", ran.err);
    ensure!(result["exhausted"] == true && number(&result, "stop_heard")? == 1, "{result}");
    shares_add_up(&result)?;
    let (by_us, by_them) = (number(&result, "issued_again")?, number(&result, "delivered_again")?);
    if entry.guarantee == Guarantee::AtMostOnce {
        ensure!(by_us > 0, "its task was lost, and nobody issued it again: {result}");
    } else {
        ensure!(by_us == 0, "at least once needs no help: {result}");
        // What comes again may have been done already, and only not acked.
        let twice = number(&result, "done_twice")?;
        ensure!(by_them + twice > 0, "it was killed at work, and no task came again: {result}");
    }
    own.map_or(Ok(()), |own| own.ends_clean(&place(&ran)?))
}

/// The command that a search shows, as arguments of `lab`; with a name.
fn invitation(live: &mut Live) -> Result<Vec<String>> {
    live.until_said("another terminal can help: ")?;
    live.until_said("worker-1 has joined")?;
    let said = live.said();
    let line = said.lines().find_map(|line| line.strip_prefix("another terminal can help: lab "));
    let words = line.context("no invitation")?.split(' ').map(|word| word.trim_matches('\'').to_owned());
    Ok(words.chain(["--name", "helper"].map(str::to_owned)).collect())
}

/// A worker from another terminal joins, gets work, and hears `stop`; Ctrl-C
/// at the search leaves nothing.
fn helped(over: &str, broker: Option<Broker>) -> Result<()> {
    let own = Own::start(broker)?;
    let mut rest = vec![NONE, "--workers", "1"];
    rest.extend(ENDLESS);
    let mut live = Live::start(&strs(&arguments(over, own.as_ref(), &rest)?))?;
    let helper = Live::start(&strs(&invitation(&mut live)?))?;
    live.until_said("helper has joined")?;
    let pid = helper.pid();
    let before = used(pid);
    wait_until("the helper works", || Ok(used(pid) > before + 20))?;
    let workers = live.below("worker-1");
    live.signal_group(Signal::INT)?;
    let ran = live.end()?.expect(130)?;
    helper.end()?.expect(0)?.told(&["helper was told to stop"])?;
    let result = said(&ran, "result")?;
    ensure!(number(&result, "stop_heard")? == 2, "not all have heard stop: {result}");
    ensure!(number(&result["workers"]["helper"], "tasks")? > 0, "the helper got no work: {result}");
    ensure!(result["exhausted"] == false, "{result}");
    shares_add_up(&result)?;
    ensure!(!workers.is_empty() && !workers.iter().any(|pid| runs(*pid)), "a worker outlived its search");
    own.map_or(Ok(()), |own| own.ends_clean(&place(&ran)?))
}

/// A helper that is interrupted leaves its tasks to others. While it works the
/// other worker is stopped where it stands, so that it is known who does what.
fn gives_back() -> Result<()> {
    let own = Own::start(Some(Broker::Redis))?;
    let mut rest = vec![NONE, "--batch", "5000", "--workers", "1"];
    rest.extend(SECONDS);
    let mut live = Live::start(&strs(&arguments("redis", own.as_ref(), &rest)?))?;
    let help = invitation(&mut live)?;
    let worker = live.until_at_work("worker-1", 1)?;
    signal(worker, Signal::STOP);
    let mut helper = Live::start(&strs(&help))?;
    live.until_said("helper has joined")?;
    let (pid, before) = (helper.pid(), used(helper.pid()));
    wait_until("the helper works", || Ok(used(pid) > before + 5))?;
    signal(pid, Signal::INT);
    helper.until_said("helper leaves; its unfinished tasks go to others")?;
    helper.end()?.expect(0)?;
    live.until_said("helper has left; 1 worker is here")?;
    signal(worker, Signal::CONT);
    let ran = live.end()?.expect(1)?;
    let result = said(&ran, "result")?;
    ensure!(number(&result, "tried")? == WORDS_OF_SECONDS, "words were lost: {result}");
    ensure!(number(&result, "issued_again")? == 0, "{result}");
    own.map_or(Ok(()), |own| own.ends_clean(&place(&ran)?))
}

fn deserted() -> Result<()> {
    let own = Own::start(Some(Broker::Redis))?;
    let mut rest = vec![NONE, "--workers", "1", "--patience", "0.1"];
    rest.extend(ENDLESS);
    let mut live = Live::start(&strs(&arguments("redis", own.as_ref(), &rest)?))?;
    signal(live.until_at_work("worker-1", 1)?, Signal::KILL);
    let ran = live.end()?.expect(1)?;
    ran.told(&["worker-1 has died", "no worker is left; add one within 0.1 s: lab crack --join redis"])?;
    ran.told(&["none has joined", "the search has ended after"])?;
    own.map_or(Ok(()), |own| own.ends_clean(&place(&ran)?))
}

/// Anybody can write into a queue: only what is true counts.
fn forged() -> Result<()> {
    let own = Own::start(Some(Broker::Redis))?.context("a broker")?;
    let mut rest = vec![NONE, "--workers", "1"];
    rest.extend(ENDLESS);
    let mut live = Live::start(&strs(&arguments("redis", Some(&own), &rest)?))?;
    let help = invitation(&mut live)?;
    let at = help.iter().position(|word| word == "--place").context("no place")?;
    let results = format!("{}.results:queue", help[at + 1]);
    let (tasks, control) = (format!("{}.tasks:queue", help[at + 1]), format!("{}.control:", help[at + 1]));
    let mut redis = redis::Client::open(own.site.url()?)?.get_connection()?;
    for forged in ["hello", "found 0 5000 abc stranger", "tried 1 5000 stranger"] {
        redis::cmd("RPUSH").arg(&results).arg(forged).exec(&mut redis)?;
    }
    // Nor does it end a worker: topics that are none, other orders, and what is not a task.
    for topic in ["haus.küche", "", "a b", "control"] {
        redis::cmd("PUBLISH").arg(format!("{control}{topic}")).arg("hello").exec(&mut redis)?;
    }
    redis::cmd("RPUSH").arg(&tasks).arg("hello").exec(&mut redis)?;
    live.until_said("a report begins with")?;
    live.until_said("`abc` was reported in 0-4999, but does not have the hash")?;
    live.until_said("1-5000 is not a range that was handed out")?;
    drop(redis);
    live.signal_group(Signal::INT)?;
    let ran = live.end()?.expect(130)?;
    let result = said(&ran, "result")?;
    ensure!(number(&result, "refused")? == 3 && result["found"].is_null(), "{result}");
    ensure!(number(&result, "stop_heard")? == 1 && number(&result, "died")? == 0, "{result}");
    own.ends_clean(&place(&ran)?)
}

/// A worker that shares no code with the lab: a script over pyzmq.
fn strange() -> Result<()> {
    let mut rest = vec![NONE, "--workers", "1"];
    rest.extend(ENDLESS);
    let mut live = Live::start(&strs(&arguments("zeromq", None, &rest)?))?;
    let help = invitation(&mut live)?;
    let at = help.iter().position(|word| word == "--at").context("no addresses")?;
    let mut command = script(STRANGER);
    for part in ["tasks=", "results=", "control="] {
        let address = help[at + 1].split(',').find_map(|address| address.strip_prefix(part));
        command.arg(address.with_context(|| format!("no {part}"))?);
    }
    let stranger = Live::spawn(command)?;
    live.until_said("stranger has joined")?;
    let (pid, before) = (stranger.pid(), used(stranger.pid()));
    wait_until("the stranger works", || Ok(used(pid) > before + 20))?;
    live.signal_group(Signal::INT)?;
    let result = said(&live.end()?.expect(130)?, "result")?;
    stranger.end()?.expect(0)?;
    ensure!(number(&result["workers"]["stranger"], "tasks")? > 0, "it got no work: {result}");
    ensure!(number(&result, "stop_heard")? == 2 && number(&result, "refused")? == 0, "{result}");
    shares_add_up(&result)
}

fn compares() -> Result<()> {
    let rest = ["--compare", "--alphabet", "a-h", "--max-length", "4", "--rounds", "2", "--workers", "2"];
    let ways = |more: &[&str]| -> Result<Vec<(u64, u64, u64)>> {
        let ran = run(&strs(&arguments("tcp", None, &[&rest, more].concat())?))?.expect(0)?;
        lines(&ran)?
            .iter()
            .map(|way| {
                let rounds = way["seconds"].as_array().context("no seconds")?;
                ensure!(rounds.len() == 2 && number(way, "words")? == 4680, "{way}");
                Ok((number(way, "workers")?, number(way, "batch")?, number(way, "tasks")?))
            })
            .collect()
    };
    let plain = (0, 4680, 1);
    let compared = ways(&["--batch", "1000"])?;
    ensure!(compared == [plain, (1, 1000, 5), (2, 1000, 5)], "{compared:?}");
    let batches = ways(&["--batches", "100,7"])?;
    ensure!(batches == [plain, (2, 100, 47), (2, 7, 669)], "{batches:?}");
    let ran =
        run(&["crack", "--compare", "--alphabet", "abc", "--over", "tcp", "--rounds", "1"])?.expect(0)?;
    for words in ["plain loop", "1 worker", "SPEED-UP", "COST/TASK"] {
        ensure!(ran.out.contains(words), "`{words}` is not in:\n{}", ran.out);
    }
    Ok(())
}

fn usage() -> Result<()> {
    let join = ["--join", "tcp", "--at"];
    for (args, words) in [
        (&[][..], "required arguments"),
        (&["abc"], "40 hexadecimal digits"),
        (&[&NONE.replace('d', "x")], "40 hexadecimal digits"),
        (&[NONE, "--over", "zeromk"], "did you mean `zeromq`?"),
        (&[NONE, "--over", "http"], "It runs over inproc, tcp"),
        (&[NONE, "--alphabet", ""], "at least one letter"),
        (&[NONE, "--alphabet", "aba"], "`a` is in the alphabet twice"),
        (&[NONE, "--alphabet", "z-a"], "runs backwards"),
        (&[NONE, "--alphabet", "a b"], "cannot be in an alphabet"),
        (&[NONE, "--max-length", "0"], "--max-length takes 1 to 64"),
        (&[NONE, "--max-length", "14"], "64 bits"),
        (&[NONE, "--workers", "0"], "--workers takes 1 to 64"),
        (&[NONE, "--workers", "65"], "--workers takes 1 to 64"),
        (&[NONE, "--batch", "0"], "a batch is at least 1"),
        (&[NONE, "--patience=-1"], "patience"),
        (&[NONE, "--set", "prefetch"], "KNOB=VALUE"),
        (&[NONE, "--compare"], "cannot be used with"),
        (&["--compare", "--batches", "10,0"], "a batch is at least 1"),
        (&["--compare", "--rounds", "0"], "--rounds takes 1 to 100"),
        (&["--join", "inproc", "--at", "x"], "nobody can join"),
        (&["--join", "redis", "--at", "x"], "not the address of a broker"),
        (&["--join", "tcp"], "--at"),
        (&[join[0], join[1], join[2], "tasks=127.0.0.1:1"], "copy the command"),
        (&[join[0], join[1], join[2], "x", "--name", "a b"], "not a worker's name"),
    ] {
        let ran = run(&[&["crack"], args].concat())?;
        ensure!(ran.code == 2, "{args:?} ends with {}:\n{}", ran.code, ran.err);
        ran.told(&[words]).with_context(|| format!("{args:?}"))?;
    }
    Ok(())
}
