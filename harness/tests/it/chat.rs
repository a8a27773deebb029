//! The chat over every transport: two instances, those who talk there, and what
//! becomes of it when an instance, the history or the broker is killed.

mod browser;
mod foreign;
mod house;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use labs::apps::chat::over::{self, Over};
use labs::lab::Broker;
use libtest_mimic::Trial;
use serde_json::json;

use crate::needs::{needs, proof};
use crate::program::run;
use crate::trial;
use house::{House, Talker, once_and_in_order};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("chat::none_makes_islands", islands),
        trial("chat::usage", usage),
        trial("chat::strangers_pages_are_turned_away", strangers),
        needs(Broker::Redis, "chat::plain_text_of_others_is_heard", || others("redis")),
        needs(Broker::Redis, "chat::plain_text_of_others_is_kept_once", || others("redis-stream")),
        needs(Broker::Redis, "chat::slow_browser_is_told_and_catches_up", slow),
    ];
    for over in over::all().into_iter().filter(|over| over.name != "none") {
        let (name, broker, goes_on) = (over.name.clone(), over.broker, over.clone());
        let both = [
            needs(broker, &format!("chat::{name}_instances_are_one"), move || block_on(one(&over))),
            needs(broker, &format!("chat::{name}_survives"), move || block_on(survives(&goes_on))),
        ];
        // RabbitMQ takes long to start.
        let slow = broker == Some(Broker::RabbitMq);
        trials.extend(both.map(|trial| if slow { proof(trial) } else { trial }));
    }
    trials.extend(browser::trials());
    trials.extend(foreign::trials());
    trials
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Fan-out, rooms, who is there.
async fn one(over: &Over) -> Result<()> {
    let house = House::start(&over.name, &["--instances", "2"])?;
    let [a, b] = &house.pages[..] else { anyhow::bail!("there are {} instances", house.pages.len()) };
    let mut ann = Talker::join(a, "Ann", "lobby").await?;
    let mut bob = Talker::join(b, "Bob", "lobby").await?;
    let mut eve = Talker::join(b, "Eve", "rust").await?;
    // Whoever hears of the others is heard by them: no message was needed for that.
    for talker in [&mut ann, &mut bob, &mut eve] {
        talker.until("knows all three", |talker| talker.people == ["Ann", "Bob", "Eve"]).await?;
    }
    let texts: Vec<String> = (0..20).map(|number| format!("number {number}")).collect();
    for text in &texts {
        ann.say(text).await?;
    }
    eve.say("in rust").await?;
    for talker in [&mut ann, &mut bob] {
        talker.until("has heard all", |talker| texts.iter().all(|text| talker.has(text))).await?;
        once_and_in_order(talker, &texts)?;
        ensure!(!talker.has("in rust"), "a room is heard in another");
    }
    eve.until("hears its room", |talker| talker.has("in rust")).await?;
    ensure!(eve.heard == ["in rust"], "a room is heard in another: {:?}", eve.heard);
    // Whoever goes to a room is shown what was said there, where somebody kept it.
    eve.go_to("lobby").await?;
    if over.has_history() {
        // What came live may be there before the page of the history that is older.
        eve.until("is shown the history", |talker| texts.iter().all(|text| talker.has(text))).await?;
        once_and_in_order(&eve, &texts)?;
    }
    // Its own words come back once it is in that room: without a history, what was said in the room
    // before is not shown.
    eve.say("here").await?;
    eve.until("is in the other room", |talker| talker.has("here")).await?;
    ann.say("the end").await?;
    // Twenty in a row were as fast as one may speak: this one may have to be said again.
    ann.until("is heard", Talker::is_through).await?;
    eve.until("hears the other room", |talker| talker.has("the end")).await?;
    house.end()
}

/// kill -9 of an instance, of the history, of the broker.
async fn survives(over: &Over) -> Result<()> {
    let more: &[&str] = if over.broker.is_some() { &["--break"] } else { &[] };
    let house = House::start(&over.name, &[&["--instances", "2"], more].concat())?;
    let mut ann = Talker::join(&house.pages[0], "Ann", "lobby").await?;
    let mut bob = Talker::join(&house.pages[1], "Bob", "lobby").await?;
    let mut texts: Vec<String> = Vec::new();
    let mut say = |text: &str| {
        texts.push(text.to_owned());
        text.to_owned()
    };
    // What is said before the instances know of each other may reach nobody.
    for talker in [&mut ann, &mut bob] {
        talker.until("knows both", |talker| talker.people == ["Ann", "Bob"]).await?;
    }
    ann.say(&say("before")).await?;
    bob.until("hears Ann", |talker| talker.has("before")).await?;

    house.kill("instance-B")?;
    ann.say(&say("while B was away")).await?;
    ann.until("is heard", Talker::is_through).await?;
    heard_again(over, &mut ann, &mut bob, "B is back").await?;

    if over.has_history() {
        house.kill("history")?;
        ann.say(&say("while the history was away")).await?;
        bob.until("hears Ann without it", |talker| talker.has("while the history was away")).await?;
        // It catches up, as whoever comes now can see.
        let mut eve = Talker::join(&house.pages[0], "Eve", "lobby").await?;
        eve.until("is shown it", |talker| talker.has("while the history was away")).await?;
    }

    if over.broker.is_some() {
        ann.send(&json!({ "type": "kill-broker" })).await?;
        ann.until("sees that the broker has gone", |talker| {
            talker.problems.as_ref().is_some_and(|problems| *problems != json!({}))
        })
        .await?;
        ann.say(&say("while the broker was away")).await?;
        ann.send(&json!({ "type": "start-broker" })).await?;
        ann.until("is heard", Talker::is_through).await?;
        heard_again(over, &mut ann, &mut bob, "the broker is back").await?;
    }

    if over.has_history() {
        // Whatever was killed: everybody has all of it, once; and so has who comes now.
        let mut eve = Talker::join(&house.pages[1], "Eve", "lobby").await?;
        for talker in [&mut ann, &mut bob, &mut eve] {
            let all = |talker: &Talker| texts.iter().all(|text| talker.has(text));
            talker.until("has everything", all).await?;
            for text in &texts {
                let times = talker.heard.iter().filter(|heard| *heard == text).count();
                ensure!(times == 1, "`{text}` was heard {times} times");
            }
        }
    } else {
        ensure!(
            ann.heard.iter().filter(|text| *text == "before").count() == 1,
            "heard twice: {:?}",
            ann.heard
        );
    }
    house.end()
}

/// Where nobody keeps what is said, Bob's instance may come back later than Ann's
/// speaks: she speaks until she is heard.
async fn heard_again(over: &Over, ann: &mut Talker, bob: &mut Talker, text: &str) -> Result<()> {
    for attempt in 0..100 {
        let said = format!("{text} {attempt}");
        ann.say(&said).await?;
        if over.has_history() {
            return bob.until("hears Ann", |talker| talker.has(&said)).await;
        }
        ann.until("is heard", Talker::is_through).await?;
        bob.hear_for_a_moment().await;
        if bob.has(&said) {
            return Ok(());
        }
    }
    anyhow::bail!("Bob has never heard Ann again after: {text}")
}

fn islands() -> Result<()> {
    block_on(async {
        let house = House::start("none", &["--instances", "2"])?;
        let mut ann = Talker::join(&house.pages[0], "Ann", "lobby").await?;
        let mut bob = Talker::join(&house.pages[1], "Bob", "lobby").await?;
        let mut eve = Talker::join(&house.pages[0], "Eve", "lobby").await?;
        // A person is listed after the instance has put them into the room.
        eve.until("knows its island", |talker| talker.people == ["Ann", "Eve"]).await?;
        ann.say("hello").await?;
        eve.until("hears its island", |talker| talker.has("hello")).await?;
        bob.say("is anybody there?").await?;
        bob.until("hears itself", |talker| talker.has("is anybody there?")).await?;
        // What crossed would have come before what was said later.
        ensure!(bob.heard == ["is anybody there?"], "the islands are one: {:?}", bob.heard);
        bob.until("knows only its island", |talker| talker.people == ["Bob"]).await?;
        house.end()
    })
}

/// What `redis-cli` publishes appears in the chat, once.
fn others(over: &str) -> Result<()> {
    block_on(async {
        let house = House::start(over, &["--instances", "2"])?;
        let url = house.broker.clone().context("the broker's address is not told")?;
        let mut ann = Talker::join(&house.pages[0], "Ann", "lobby").await?;
        ann.say("first").await?;
        ann.until("is heard", Talker::is_through).await?;
        let publish = |body: &str| -> Result<()> {
            let args: Vec<&str> = match over {
                "redis" => vec!["PUBLISH", "chat:room.lobby", body],
                _ => vec!["XADD", "chat:stream", "*", "topic", "room.lobby", "body", body],
            };
            let status = Command::new("redis-cli").args(["-u", &url]).args(args).output();
            let output = status.context("redis-cli is not on PATH; install the package redis-tools")?;
            ensure!(output.status.success(), "redis-cli: {}", String::from_utf8_lossy(&output.stderr));
            Ok(())
        };
        publish("plain <b>text</b>")?;
        publish(r#"{"name":"me","text":"a named text"}"#)?;
        publish("plain <b>text</b>")?;
        ann.until("hears a stranger", |talker| talker.heard.len() == 4).await?;
        let strangers = ["first", "plain <b>text</b>", "a named text", "plain <b>text</b>"];
        ensure!(ann.heard == strangers, "heard were {:?}", ann.heard);
        house.end()
    })
}

/// A browser that takes nothing for a while is told how much it missed, and has
/// it in the end; the others wait for nothing.
fn slow() -> Result<()> {
    block_on(async {
        let house = House::start("redis-stream", &[])?;
        let mut bob = Talker::join_slow(&house.pages[0], "Bob", "lobby").await?;
        bob.until("is shown the history", |talker| talker.paged).await?;
        // A few: each hears all the others, and who takes nothing for 15 s is cut off.
        let mut others = Vec::new();
        for number in 0..8 {
            others.push(Talker::join(&house.pages[0], &format!("talker-{number}"), "lobby").await?);
        }
        // More than the sockets' buffers and Bob's queue at the instance hold.
        let (rounds, each, text) = (6, 19, "€".repeat(1_900));
        for _ in 0..rounds {
            // As much at once as one may.
            for talker in &mut others {
                for number in 0..each {
                    talker.say(&format!("{number} {text}")).await?;
                }
            }
            for talker in &mut others {
                talker.until("is heard", Talker::is_through).await?;
            }
        }
        let count = rounds * each * others.len();
        bob.until("has everything", |talker| talker.heard.len() == count).await?;
        // On a busy machine the rounds take longer than the 15 s after which one who takes nothing is
        // cut off: then he came back.
        ensure!(bob.missed > 0 || bob.returns > 0, "Bob was never told that he fell behind");
        house.end()
    })
}

fn usage() -> Result<()> {
    for (args, words) in [
        (&["chat", "--over", "reddis"][..], &["`reddis`", "did you mean `redis`", "zeromq"][..]),
        (&["chat", "--over", "none", "--instances", "0"], &["--instances 0", "1 to 16"]),
        (&["chat", "--over", "none", "--name", "a b"], &["`a b`", "letters"]),
        (&["chat", "--over", "none", "--store", "x"], &["--store", "memory"]),
        (&["chat", "--over", "none", "--break"], &["--break", "private"]),
        (
            &["chat", "--over", "redis", "--bind", "127.0.0.1:1", "--peers", "127.0.0.1:1"],
            &["--bind", "without a broker"],
        ),
        (
            &["chat", "--over", "zeromq", "--bind", "127.0.0.1:1", "--peers", "127.0.0.1:2"],
            &["--peers", "127.0.0.1:1"],
        ),
        (&["chat", "--over", "redis", "--forget"], &["--forget", "your own broker"]),
    ] {
        run(args)?.expect(2)?.told(words)?;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    run(&["chat", "--over", "none", "--port", &port])?.expect(1)?.told(&[&port, "in use", "--port 0"])
}

/// A page of somewhere else may not talk to the chat, and neither may one that
/// came under another name.
fn strangers() -> Result<()> {
    use std::io::{Read as _, Write as _};
    let house = House::start("none", &[])?;
    let address = house.pages[0].trim_start_matches("http://").trim_end_matches('/').to_owned();
    for (host, origin, answer) in [
        (address.as_str(), "", "HTTP/1.1 200"),
        (&address, "Origin: http://evil.example\r\n", "HTTP/1.1 403"),
        ("evil.example", "", "HTTP/1.1 403"),
    ] {
        let mut stream = std::net::TcpStream::connect(&address)?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n")?;
        let mut got = String::new();
        stream.read_to_string(&mut got)?;
        ensure!(got.starts_with(answer), "{host} {origin}: {got}");
        let policy = got.contains("content-security-policy: default-src 'none'");
        ensure!(policy == answer.ends_with("200"), "no policy: {got}");
    }
    house.end()
}
