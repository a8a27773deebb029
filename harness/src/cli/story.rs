//! The stories that `lab run` tells: real roles, real messages. What is
//! printed of a role is what the role has said; what is concluded is counted
//! from that, so that another course of events is another story.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use labs::catalog::{Particular, Pattern};
use labs::lab::{Join, Overload};
use labs::pipeline::Sharing;
use labs::queue::Confirmed;
use labs::reqrep::Matching;
use labs::topic::FilterKind;
use serde_json::json;

use crate::conduct::{Cast, Heard, Housing};
use crate::role::Handle;
use crate::role::protocol::{Act, Event, FromRole, Init, Kind, What};
use crate::trial;

/// How long the story waits for what should happen next.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the story is told.
pub(super) struct Telling {
    /// One JSON object a line instead of prose.
    pub(super) json: bool,
    /// Pause before each step.
    pub(super) pace: Duration,
}

/// Tells the story of a lab's pattern. The place is cleaned up afterwards.
pub(super) async fn tell(handle: &Handle, url: Option<&str>, telling: &Telling) -> Result<()> {
    let name = format!("lab-run-{:08x}", trial::run_number());
    let housing = Housing { threads: handle.entry.transport == "inproc", cpus: Vec::new() };
    let cast = Cast::start(handle, Vec::new(), housing)?;
    let mut story = Story { handle, telling, cast, name, url, heard: Vec::new() };
    let told = match handle.entry.pattern {
        Pattern::OneWay => story.one_way().await,
        Pattern::RequestReply => story.request_reply().await,
        Pattern::PubSub => story.pub_sub().await,
        Pattern::Pipeline => story.pipeline().await,
        Pattern::Queue => story.queue().await,
        Pattern::Durable => story.durable().await,
    };
    for complaint in story.cast.dismiss(PATIENCE).await {
        story.narrate(&complaint);
    }
    trial::remove(handle, &story.name, url, story.cast.names(Kind::Subscriber)).await?;
    told
}

struct Story<'a> {
    handle: &'a Handle,
    telling: &'a Telling,
    cast: Cast,
    name: String,
    url: Option<&'a str>,
    /// Everything that happened, and to whom.
    heard: Vec<(String, Event)>,
}

impl Story<'_> {
    async fn one_way(&mut self) -> Result<()> {
        let stores = self.handle.entry.overload == Overload::Stores;
        if !stores {
            self.enter(Kind::Receiver, 0, None).await?;
        }
        let sender = self.enter(Kind::Sender, 0, None).await?;
        let words = ["one", "two", "three"];
        for word in words {
            self.say(sender, word, None).await;
            self.wait(|story| story.count("sender-0", What::Written, word) > 0).await;
        }
        if stores {
            self.enter(Kind::Receiver, 0, None).await?;
        }
        self.wait(|story| story.of("receiver-0", What::Received).len() >= words.len()).await;
        let (written, received) = (self.of("sender-0", What::Written), self.of("receiver-0", What::Received));
        self.conclude(&format!(
            "{} written, {} received{}.",
            written.len(),
            received.len(),
            in_order(&written, &received)
        ));
        if stores && received.len() == written.len() {
            self.conclude(
                "The receiver came last, and missed nothing: the broker held what nobody had fetched yet.",
            );
        }
        self.conclude(
            "Nothing came back to the sender: all it knows is that they were written. One-way does not say more.",
        );
        Ok(())
    }

    async fn request_reply(&mut self) -> Result<()> {
        let slow = self.enter(Kind::Responder, 0, None).await?;
        let quick = self.enter(Kind::Responder, 1, None).await?;
        self.act(slow, Act::Auto { work_ms: 150 }, "takes 150 ms to answer").await;
        self.act(quick, Act::Auto { work_ms: 10 }, "takes 10 ms").await;
        let requester = self.enter(Kind::Requester, 0, None).await?;
        let questions = ["who?", "what?", "where?", "why?"];
        for question in questions {
            self.say(requester, question, None).await;
        }
        let settled = |story: &Self| {
            story.of("requester-0", What::Replied).len() + story.of("requester-0", What::Failed).len()
        };
        self.wait(|story| settled(story) >= questions.len()).await;
        let mut matched = 0;
        let mut order = Vec::new();
        for (role, event) in &self.heard {
            if let ("requester-0", What::Replied, Some(about)) = (role.as_str(), event.what, &event.about) {
                matched += usize::from(event.text.ends_with(about.as_str()));
                order.push(about.clone());
            }
        }
        let replied = order.len();
        self.conclude(&format!(
            "{} asked, {replied} answered, {matched} of the answers belong to their question.",
            questions.len()
        ));
        if replied == questions.len() && order != questions {
            self.conclude(
                "The answers came in another order than the questions; each found its own all the same.",
            );
        }
        self.conclude(match self.handle.entry.particular {
            Particular::Matching(Matching::Lockstep) => {
                "What told them apart: the turn. One question at a time, so the next answer is the answer."
            }
            Particular::Matching(Matching::ReplyAddress) => {
                "What told them apart: the address. Each question brought along where its answer goes."
            }
            _ => "What told them apart: a correlation identifier that the answer brings back.",
        });
        Ok(())
    }

    async fn durable(&mut self) -> Result<()> {
        let publisher = self.enter(Kind::Publisher, 0, None).await?;
        let subscriber = self.enter(Kind::Subscriber, 0, None).await?;
        self.act(subscriber, Act::Auto { work_ms: 0 }, "acknowledges what it hears").await;
        self.say(publisher, "rain", Some("news.weather")).await;
        self.wait(|story| story.count("subscriber-0", What::Acked, "rain") > 0).await;
        self.leave(subscriber).await?;
        for word in ["one nil", "two nil"] {
            self.say(publisher, word, Some("news.sport")).await;
            self.wait(|story| story.count("publisher-0", What::Written, word) > 0).await;
        }
        let back = self.enter(Kind::Subscriber, 0, None).await?;
        self.act(back, Act::Auto { work_ms: 0 }, "acknowledges what it hears").await;
        self.wait(|story| story.count("subscriber-0", What::Acked, "two nil") > 0).await;
        let heard = |text: &str| self.count("subscriber-0", What::Received, text);
        let (before, away, after) = (heard("rain"), heard("one nil"), heard("two nil"));
        self.conclude(&format!(
            "subscriber-0 heard 1 event while it was there and, of the 2 published while it was away, {}.",
            usize::from(away > 0) + usize::from(after > 0)
        ));
        if before == 1 && away == 1 && after == 1 {
            self.conclude("Each came once: what was acknowledged does not come again.");
        }
        Ok(())
    }

    async fn pub_sub(&mut self) -> Result<()> {
        let publisher = self.enter(Kind::Publisher, 0, None).await?;
        let only = match self.handle.entry.particular {
            Particular::Filters(kinds) if kinds.contains(&FilterKind::Exact) => Some("exact:news.sport"),
            Particular::Filters(kinds) if kinds.contains(&FilterKind::Prefix) => Some("prefix:news.sport"),
            _ => None,
        };
        self.enter(Kind::Subscriber, 0, None).await?;
        self.enter(Kind::Subscriber, 1, only).await?;
        if self.handle.entry.join == Join::Probed {
            self.probe(publisher, "hello?", &["subscriber-0"], "news.weather").await;
            self.probe(publisher, "hello?", &["subscriber-1"], "news.sport").await;
        }
        self.say(publisher, "rain", Some("news.weather")).await;
        self.say(publisher, "one nil", Some("news.sport")).await;
        self.wait(|story| {
            story.count("subscriber-0", What::Received, "one nil") > 0
                && story.count("subscriber-1", What::Received, "one nil") > 0
        })
        .await;
        self.enter(Kind::Subscriber, 2, None).await?;
        if self.handle.entry.join == Join::Probed {
            self.probe(publisher, "hello again?", &["subscriber-2"], "news.weather").await;
        }
        self.say(publisher, "sunshine", Some("news.weather")).await;
        self.wait(|story| {
            story.count("subscriber-0", What::Received, "sunshine") > 0
                && story.count("subscriber-2", What::Received, "sunshine") > 0
        })
        .await;
        let news = |story: &Self, role: &str| -> usize {
            ["rain", "one nil", "sunshine"].iter().map(|text| story.count(role, What::Received, text)).sum()
        };
        self.conclude(&format!(
            "Of three events, subscriber-0 heard {}, subscriber-1 with its filter {}, and subscriber-2, who came late, {}.",
            news(self, "subscriber-0"),
            news(self, "subscriber-1"),
            news(self, "subscriber-2")
        ));
        if self.count("subscriber-2", What::Received, "rain") == 0 {
            self.conclude("What was published before a subscriber joined is gone for it: nobody kept it.");
        }
        let calls = self.count("publisher-0", What::Written, "hello?");
        if calls > 2 {
            self.conclude(&format!(
                "Nothing confirms a subscription here: the publisher called {calls} times before both were heard to be there."
            ));
        }
        Ok(())
    }

    /// Publishes until these subscribers have heard it.
    async fn probe(&mut self, publisher: usize, text: &str, listeners: &[&str], topic: &str) {
        for _ in 0..100 {
            self.say_quietly(publisher, text, Some(topic));
            let before = self.of("publisher-0", What::Written).len();
            self.wait_for(Duration::from_millis(50), |story| {
                story.of("publisher-0", What::Written).len() > before
                    && listeners.iter().all(|role| story.count(role, What::Received, text) > 0)
            })
            .await;
            if listeners.iter().all(|role| self.count(role, What::Received, text) > 0) {
                return;
            }
        }
    }

    async fn pipeline(&mut self) -> Result<()> {
        const TASKS: usize = 12;
        // All binders are started before any is awaited: each may need the others' addresses.
        let sink = self.start(Kind::Sink, 0, None)?;
        let ventilator = self.start(Kind::Ventilator, 0, None)?;
        let quick = self.start(Kind::Worker, 0, None)?;
        let slow = self.start(Kind::Worker, 1, None)?;
        self.joined(&[sink, ventilator, quick, slow]).await?;
        self.act(quick, Act::Auto { work_ms: 5 }, "needs 5 ms for a task").await;
        self.act(slow, Act::Auto { work_ms: 60 }, "needs 60 ms").await;
        for task in 1..=TASKS {
            self.say(ventilator, &format!("task {task}"), None).await;
        }
        self.wait(|story| {
            let done: std::collections::BTreeSet<String> = story
                .of("sink-0", What::Received)
                .iter()
                .filter_map(|text| text.split_once(" did: ").map(|(_, task)| task.to_owned()))
                .collect();
            done.len() >= TASKS
        })
        .await;
        let results = self.of("sink-0", What::Received);
        let by = |worker: &str| results.iter().filter(|text| text.starts_with(worker)).count();
        self.conclude(&format!(
            "{TASKS} tasks, {} results: {} by worker-0, the quick one, and {} by worker-1, the slow one.",
            results.len(),
            by("worker-0"),
            by("worker-1")
        ));
        self.conclude(match self.handle.entry.particular {
            Particular::Sharing(Sharing::OnDemand) => {
                "A task goes to the worker that asks next, so a slow worker gets fewer."
            }
            Particular::Sharing(Sharing::Random) => "Tasks are assigned at random.",
            _ => "Tasks go to the workers in turn, whether a worker keeps up or not.",
        });
        let home = |story: &Self| {
            ["worker-0", "worker-1"]
                .iter()
                .filter(|role| story.gone(role) || !story.of(role, What::Ended).is_empty())
                .count()
        };
        // A subscription to the control channel may not be confirmed: say it until all have heard.
        for _ in 0..20 {
            self.say_quietly(sink, "stop", None);
            self.wait_for(Duration::from_millis(500), |story| home(story) == 2).await;
            if home(self) == 2 {
                break;
            }
        }
        self.conclude(&format!(
            "Told to stop over the control channel, {} of 2 workers went home.",
            home(self)
        ));
        Ok(())
    }

    async fn queue(&mut self) -> Result<()> {
        let producer = self.enter(Kind::Producer, 0, None).await?;
        let words = ["one", "two", "three"];
        let confirmed = |story: &Self| story.of("producer-0", What::Confirmed).len();
        let stored = self.handle.entry.particular == Particular::Confirmed(Confirmed::Stored);
        if stored {
            for word in words {
                self.say(producer, word, None).await;
            }
            self.wait(|story| confirmed(story) >= words.len()).await;
            self.conclude("Confirmed: the queue answers for them now, and nobody has consumed anything yet.");
        } else {
            for word in words {
                self.pause().await;
                self.direct("producer-0", &format!("sends {word}"));
                self.say_quietly(producer, word, None);
            }
        }
        let first = self.enter(Kind::Consumer, 0, None).await?;
        self.wait(|story| story.of("consumer-0", What::Received).len() >= 2).await;
        self.act(first, Act::Ack, "acknowledges the first, and keeps the second in its hands").await;
        self.wait(|story| !story.of("consumer-0", What::Acked).is_empty()).await;
        if !self.gone("consumer-0") {
            self.direct("consumer-0", "is killed with SIGKILL");
            self.cast.kill(first)?;
            self.wait(|story| story.gone("consumer-0")).await;
        }
        if !stored {
            // A confirmation on its way when the consumer died is still one.
            self.wait_for(Duration::from_secs(1), |story| confirmed(story) > 0).await;
            self.conclude(&format!(
                "{} of {} confirmed: the producer answers for the others itself, and they would die with it.",
                confirmed(self),
                words.len()
            ));
        }
        let second = self.enter(Kind::Consumer, 1, None).await?;
        self.act(second, Act::Auto { work_ms: 0 }, "acknowledges whatever comes").await;
        self.wait(|story| {
            let settled =
                story.of("consumer-0", What::Acked).len() + story.of("consumer-1", What::Acked).len();
            settled >= words.len() && (stored || confirmed(story) >= words.len())
        })
        .await;
        let acked = self.of("consumer-0", What::Acked);
        let again: Vec<String> = self
            .heard
            .iter()
            .filter(|(role, event)| {
                role == "consumer-1" && event.what == What::Received && event.attempt > Some(1)
            })
            .map(|(_, event)| event.text.clone())
            .collect();
        let second: Vec<String> = self.of("consumer-1", What::Received);
        self.conclude(&format!(
            "consumer-0 acknowledged {}; consumer-1 received {}{}.",
            list(&acked),
            list(&second),
            if again.is_empty() {
                String::new()
            } else {
                format!(", of these marked as redelivered: {}", list(&again))
            }
        ));
        if acked.iter().all(|text| !second.contains(text)) && !again.is_empty() {
            self.conclude(
                "What is acknowledged stays away. What is not acknowledged comes again, and says so.",
            );
        }
        if !stored {
            self.conclude(&format!(
                "{} of {} confirmed, each when it was acknowledged.",
                confirmed(self),
                words.len()
            ));
        }
        Ok(())
    }

    // ---- how it is told ----

    fn start(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        let init = Init {
            lab: self.handle.entry.name.clone(),
            kind,
            index,
            senders: 1,
            receivers: 1,
            run: 0,
            name: self.name.clone(),
            url: self.url.map(str::to_owned),
            // One at a time, so that a small story shows what a large load would.
            knobs: BTreeMap::from([
                ("prefetch".to_owned(), 1),
                ("credit".to_owned(), 1),
                ("depth".to_owned(), 1),
            ]),
            bind: BTreeMap::new(),
            filter: filter.map(str::to_owned),
            measure: None,
        };
        self.cast.add(self.handle, init)
    }

    async fn enter(&mut self, kind: Kind, index: usize, filter: Option<&str>) -> Result<usize> {
        self.pause().await;
        let number = self.start(kind, index, filter)?;
        // Peer to peer, whoever connects needs the binders' addresses first.
        let with = filter.map(|filter| format!(" with the filter {filter}")).unwrap_or_default();
        self.joined(&[number]).await?;
        if !with.is_empty() {
            let name = self.cast.actors[number].name.clone();
            self.direct(&name, &format!("listens{with}"));
        }
        Ok(number)
    }

    async fn joined(&mut self, numbers: &[usize]) -> Result<()> {
        let numbers = numbers.to_vec();
        let all =
            |story: &Self| numbers.iter().all(|&n| story.cast.actors[n].ready || story.cast.actors[n].left);
        self.wait_for(Duration::from_secs(30), all).await;
        for &number in &numbers {
            let actor = &self.cast.actors[number];
            if !actor.ready {
                bail!("{} could not join", actor.name);
            }
        }
        Ok(())
    }

    async fn say(&mut self, number: usize, text: &str, topic: Option<&str>) {
        self.pause().await;
        self.say_quietly(number, text, topic);
        // What it says of this comes before the next step is told.
        let name = self.cast.actors[number].name.clone();
        let before = self.heard.iter().filter(|(role, _)| *role == name).count();
        self.wait(|story| story.heard.iter().filter(|(role, _)| *role == name).count() > before).await;
    }

    fn say_quietly(&mut self, number: usize, text: &str, topic: Option<&str>) {
        let act = Act::Say { text: text.to_owned(), topic: topic.map(str::to_owned) };
        self.cast.tell(number, crate::role::protocol::ToRole::Act(act));
    }

    async fn act(&mut self, number: usize, act: Act, what: &str) {
        self.pause().await;
        let name = self.cast.actors[number].name.clone();
        self.direct(&name, what);
        self.cast.tell(number, crate::role::protocol::ToRole::Act(act));
    }

    /// A role goes away by its own will.
    async fn leave(&mut self, number: usize) -> Result<()> {
        self.pause().await;
        let name = self.cast.actors[number].name.clone();
        self.direct(&name, "goes away");
        self.cast.tell(number, crate::role::protocol::ToRole::Stop);
        self.wait(|story| story.cast.actors[number].left).await;
        if !self.cast.actors[number].left {
            bail!("{name} did not leave");
        }
        Ok(())
    }

    async fn pause(&mut self) {
        let pace = self.telling.pace;
        if !pace.is_zero() {
            self.wait_for(pace, |_| false).await;
        }
    }

    /// Listens until `done`, or nobody can be waited for any longer.
    async fn wait(&mut self, done: impl Fn(&Self) -> bool) {
        self.wait_for(PATIENCE, done).await;
    }

    async fn wait_for(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + patience;
        while !done(self) {
            let Ok((number, heard)) = tokio::time::timeout_at(deadline, self.cast.hear()).await else {
                return;
            };
            let name = self.cast.actors[number].name.clone();
            match heard {
                Heard::Line(FromRole::Ready) => self.line(&name, "joined", "", None),
                Heard::Line(FromRole::Event(event)) => {
                    self.show(&name, &event);
                    self.heard.push((name, event));
                }
                Heard::Line(FromRole::Failed { error }) => self.line(&name, "failed", &error, None),
                Heard::Left(Some(why)) => self.line(&name, "is gone", &why, None),
                Heard::Left(None) => self.line(&name, "left", "", None),
                Heard::Line(_) => {}
            }
        }
    }

    fn gone(&self, role: &str) -> bool {
        self.cast.actors.iter().any(|actor| actor.name == role && actor.left)
    }

    /// The texts of what happened to a role.
    fn of(&self, role: &str, what: What) -> Vec<String> {
        let heard = self.heard.iter().filter(|(who, event)| who == role && event.what == what);
        heard.map(|(_, event)| event.text.clone()).collect()
    }

    fn count(&self, role: &str, what: What, text: &str) -> usize {
        self.of(role, what).iter().filter(|heard| *heard == text).count()
    }

    fn show(&self, role: &str, event: &Event) {
        let what = match event.what {
            What::Requested if role.starts_with("requester") => "asked".to_owned(),
            What::Requested => "was asked".to_owned(),
            What::Replied if role.starts_with("requester") => "got the reply".to_owned(),
            What::Received if event.attempt.is_some_and(|attempt| attempt > 1) => "received again".to_owned(),
            what => format!("{what:?}").to_lowercase(),
        };
        let mut text = event.text.clone();
        if let Some(topic) = &event.topic {
            text = format!("{topic}: {text}");
        }
        if let (Some(about), What::Replied) = (&event.about, event.what) {
            text = format!("{text}   (to: {about})");
        }
        self.line(role, &what, &text, Some(event));
    }

    fn line(&self, role: &str, what: &str, text: &str, event: Option<&Event>) {
        if self.telling.json {
            self.print(&json!({ "role": role, "what": what, "text": text, "event": event }).to_string());
        } else {
            self.print(format!("  {role:<14} {what:<15} {text}").trim_end());
        }
    }

    /// What a role is told to do, or what is done to it.
    fn direct(&self, role: &str, what: &str) {
        match self.telling.json {
            true => self.print(&json!({ "direction": role, "text": what }).to_string()),
            false => self.print(&format!("  → {role} {what}")),
        }
    }

    /// What follows from what was heard.
    fn conclude(&self, what: &str) {
        match self.telling.json {
            true => self.print(&json!({ "conclusion": what }).to_string()),
            false => self.print(&format!("  = {what}")),
        }
    }

    fn narrate(&self, what: &str) {
        self.direct("", what);
    }

    fn print(&self, line: &str) {
        // Whoever read the story has had enough; it is still played to its end.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Whether what was received is what was written, in order.
fn in_order(written: &[String], received: &[String]) -> &'static str {
    match () {
        () if written == received => ", in the same order",
        () if written.len() == received.len() => ", in another order",
        () => "",
    }
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}
