//! Queues that no broker holds: what survives when a role's process is killed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use harness::roles::protocol::{FromRole, Init, Kind, RoleCommand, ToRole, What};
use harness::roles::{Handle, Handles};
use harness::supervisor::{Heard, Placement, Roles};
use labs::catalog::Visitor as _;
use labs::queue::{Confirmed, Queue};

use super::place::Site;

/// Messages of a queue whose consumer is killed, and what that holds.
const FEW: usize = 20;
const HELD: usize = 5;
/// Messages of a queue whose producer is killed; each time with so many confirmed.
const MANY: usize = 600;

/// What a consumer held that was killed comes to another, marked; what it had
/// acked does not; and in the end all is confirmed.
pub(super) async fn consumer_killed<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon().with(&[("play-prefetch", HELD)]);
    let mut scene = Scene::of::<L>(&site)?;
    let producer = scene.enter(Kind::Producer, 0, |_| {}).await?;
    let first = scene.enter(Kind::Consumer, 0, |_| {}).await?;
    scene.say(producer, 0..FEW);
    scene.until("a consumer holds what it may", |scene| scene.received(first).len() == HELD).await?;
    if L::CONFIRMED == Confirmed::Stored {
        scene.until("all is confirmed", |scene| scene.confirmed.len() == FEW).await?;
    }
    scene.roles.tell(first, ToRole::Command(RoleCommand::Ack));
    scene.until("one is acked", |scene| scene.acked.len() == 1).await?;
    let (held, done) = (scene.received(first), scene.acked.clone());
    scene.kill(first).await?;

    let second = scene.enter(Kind::Consumer, 1, |_| {}).await?;
    scene.roles.tell(second, ToRole::Command(RoleCommand::Auto { work_ms: 0 }));
    let again = |scene: &Scene| held.difference(&done).all(|text| scene.received(second).contains(text));
    scene.until("messages that the killed consumer held come again", again).await?;
    let all = |scene: &Scene| scene.received(first).union(&scene.received(second)).count() == FEW;
    scene.until("all messages come to one or the other", all).await?;
    scene.until("all is acked", |scene| scene.acked.len() == FEW).await?;
    scene.until("all is confirmed", |scene| scene.confirmed.len() == FEW).await?;
    for ((by, text), attempts) in &scene.deliveries {
        ensure!(*by == first || !done.contains(text), "{text} was acked and came again");
        let again = *by == second && held.contains(text);
        ensure!(!again || attempts[0] > 1, "{text} came again, marked as attempt {}", attempts[0]);
    }
    scene.end().await
}

/// What was confirmed comes when its producer was killed, twice, and started
/// again where it was; and to a consumer that goes on, nothing comes twice.
pub(super) async fn producer_killed<L: Queue>(site: Site) -> Result<()> {
    let site = site.claiming_soon().with(&[("play-prefetch", HELD)]);
    let mut scene = Scene::of::<L>(&site)?;
    let mut producer = scene.enter(Kind::Producer, 0, |_| {}).await?;
    let consumer = scene.enter(Kind::Consumer, 0, |_| {}).await?;
    for time in 1..=2 {
        let before = scene.confirmed.len();
        scene.say(producer, (time - 1) * MANY..time * MANY);
        let half = |scene: &Scene| scene.confirmed.len() >= before + MANY / 2;
        scene.until("half is confirmed", half).await?;
        if time == 2 {
            let goes_on = |scene: &Scene| scene.acked.len() >= MANY / 10;
            scene.until("the consumer goes on with another producer's process", goes_on).await?;
        }
        scene.kill(producer).await?;
        let bind = scene.roles.all[producer].bound.clone();
        producer = scene.enter(Kind::Producer, 0, |init| init.bind = bind).await?;
        // The first time, nothing was acked; the second time the kill comes in the middle of it.
        scene.roles.tell(consumer, ToRole::Command(RoleCommand::Auto { work_ms: 0 }));
    }
    let missing = |scene: &Scene| scene.confirmed.difference(&scene.received(consumer)).count();
    let all = scene.until("all that was confirmed comes", |scene| missing(scene) == 0).await;
    all.with_context(|| format!("{} confirmed messages have not come", missing(&scene)))?;
    let twice = scene.deliveries.iter().find(|(_, attempts)| attempts.len() > 1);
    ensure!(twice.is_none(), "{twice:?} came more than once to the same consumer");
    scene.end().await
}

/// Roles as processes, and what is heard of them.
struct Scene {
    site: Site,
    handle: Handle,
    roles: Roles,
    confirmed: BTreeSet<String>,
    acked: BTreeSet<String>,
    /// By consumer and message: the attempts that its deliveries were marked as.
    deliveries: BTreeMap<(usize, String), Vec<u32>>,
}

impl Scene {
    fn of<L: Queue>(site: &Site) -> Result<Self> {
        let mut handles = Handles::new();
        handles.queue::<L>();
        let handle = handles.0.pop().context("no handle")?;
        let roles = Roles::start(&handle, Vec::new(), Placement::default())?;
        let (confirmed, acked, deliveries) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { site: site.clone(), handle, roles, confirmed, acked, deliveries })
    }

    async fn enter(&mut self, kind: Kind, index: usize, change: impl FnOnce(&mut Init)) -> Result<usize> {
        let mut init = self.site.init(&self.handle.entry.name, kind, index);
        change(&mut init);
        let number = self.roles.add(&self.handle, init)?;
        self.until("a role joins", |scene| scene.roles.all[number].ready).await?;
        Ok(number)
    }

    fn say(&self, producer: usize, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let act = RoleCommand::Say { text: format!("message {number}").into(), topic: None };
            self.roles.tell(producer, ToRole::Command(act));
        }
    }

    fn received(&self, consumer: usize) -> BTreeSet<String> {
        self.deliveries.keys().filter(|(by, _)| *by == consumer).map(|(_, text)| text.clone()).collect()
    }

    /// Hears what happens until something is true.
    async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let site = self.site.clone();
        let hear = async {
            while !done(self) {
                let (number, heard) = self.roles.hear().await;
                self.note(number, heard)?;
            }
            Ok(())
        };
        site.soon(what, hear).await
    }

    fn note(&mut self, number: usize, heard: Heard) -> Result<()> {
        match heard {
            Heard::Line(FromRole::Failed { error }) => {
                bail!("{} failed: {error}", self.roles.all[number].name)
            }
            Heard::Line(FromRole::Event(event)) => match event.what {
                What::Confirmed => drop(self.confirmed.insert(event.text.to_string())),
                What::Acked => drop(self.acked.insert(event.text.to_string())),
                What::Received => {
                    let attempts = self.deliveries.entry((number, event.text.to_string())).or_default();
                    attempts.push(event.attempt.unwrap_or_default());
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// Kills a role, and hears what it had said before.
    async fn kill(&mut self, number: usize) -> Result<()> {
        self.roles.kill(number)?;
        self.until("the killed role is gone", |scene| scene.roles.all[number].left).await
    }

    async fn end(mut self) -> Result<()> {
        let complaints = self.roles.shut_down(std::time::Duration::from_secs(60)).await;
        ensure!(complaints.is_empty(), "roles did not leave in order: {complaints:?}");
        Ok(())
    }
}
