//! Pipelines: what every stream owes, at both stages, and how tasks are shared.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use labs::lab::{Guarantee, Lab, Place};
use labs::pipeline::{Pipeline, Sharing, Stage};
use labs::pubsub::{PubSub, Publisher as _};
use labs::queue::Consumer;
use labs::topic::{Filter, Topic};

use super::hostile::{self, Listener};
use super::oneway::Out;
use super::place::Site;
use super::pubsub::{hear, probe};
use super::queue::{In, attempts, next};
use super::stream::{self, END, Rx as _, Stream, Tx as _, each_once, message, number};
use super::{Promise, foreign, promises, survival};

/// Tasks a worker may hold, where the lab has a knob for it.
const FEW: [(&str, usize); 2] = [("prefetch", 4), ("credit", 4)];

pub(super) fn promises<L: Pipeline>() -> Vec<Promise> {
    let mut promises = stream::promises::<Tasks<L>>("tasks_");
    promises.extend(stream::promises::<Results<L>>("results_"));
    promises.extend(survival::promises::<Tasks<L>>("tasks_"));
    promises.extend(survival::promises::<Results<L>>("results_"));
    promises.extend(promises![L: once, sharing, control]);
    promises.extend(foreign::pipeline::<L>());
    if hostile::listens::<L>() {
        const VENTILATOR: Listener = Listener { foreign: b"short", socket: b"PULL" };
        const SINK: Listener = Listener { foreign: b"", socket: b"PUSH" };
        let tasks = |site| hostile::stream::<Tasks<L>>(site, VENTILATOR);
        let results = |site| hostile::stream::<Results<L>>(site, SINK);
        promises.push(Promise::of::<L, _>("tasks_hostile", tasks));
        promises.push(Promise::of::<L, _>("results_hostile", results));
    }
    if L::GUARANTEE > Guarantee::AtMostOnce {
        promises.extend(promises![L: redelivered]);
    }
    promises
}

pub(super) struct Tasks<L>(PhantomData<L>);
pub(super) struct Results<L>(PhantomData<L>);

async fn join<L: Pipeline>(place: &Place, stage: Stage) -> Result<(Out<L::Push>, In<L::Pull>)> {
    let lab = L::open(place).await?;
    let (push, pull) = tokio::try_join!(lab.push(stage), lab.pull(stage))?;
    Ok((Out(push), In::new(pull)))
}

impl<L: Pipeline> Stream for Tasks<L> {
    type Lab = L;
    type Tx = Out<L::Push>;
    type Rx = In<L::Pull>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        join::<L>(place, Stage::Tasks).await
    }
}

impl<L: Pipeline> Stream for Results<L> {
    type Lab = L;
    type Tx = Out<L::Push>;
    type Rx = In<L::Pull>;
    async fn join(place: &Place) -> Result<(Self::Tx, Self::Rx)> {
        join::<L>(place, Stage::Results).await
    }
}

/// A whole pipeline: a ventilator, workers with both their ends, a sink.
struct Plant<L: Pipeline> {
    tasks: Out<L::Push>,
    workers: Vec<(In<L::Pull>, L::Push)>,
    sink: In<L::Pull>,
}

async fn plant<L: Pipeline>(site: &Site, workers: usize) -> Result<Plant<L>> {
    let lab = L::open(&site.place()).await?;
    let worker = async || {
        let results = lab.push(Stage::Results).await?;
        Ok((In::new(lab.pull(Stage::Tasks).await?), results))
    };
    let (tasks, workers, sink) = tokio::try_join!(
        lab.push(Stage::Tasks),
        try_join_all((0..workers).map(|_| worker())),
        lab.pull(Stage::Results)
    )?;
    Ok(Plant { tasks: Out(tasks), workers, sink: In::new(sink) })
}

/// One task: its result is flushed before it is settled.
async fn work<C: Consumer<Item = Bytes>>(
    tasks: &mut In<C>,
    results: &mut impl labs::oneway::Sender,
) -> Result<u64> {
    let task = tasks.get().await?.context("the worker says that no task can come any more")?;
    let number = number(&task)?;
    results.send(task).await?;
    results.flush().await?;
    tasks.settle().await?;
    Ok(number)
}

/// Each task is done by one worker, once, and its result reaches the sink.
async fn once<L: Pipeline>(site: Site) -> Result<()> {
    const TASKS: u64 = 600;
    let Plant { mut tasks, mut workers, mut sink } = plant::<L>(&site, 3).await?;
    let done = RefCell::new(Vec::new());
    let working = try_join_all(workers.iter_mut().map(async |(tasks, results)| -> Result<()> {
        loop {
            let task = work(tasks, results).await?;
            done.borrow_mut().push(task);
        }
    }));
    let venting = async {
        tasks.put((0..TASKS).map(|number| message(number, 64)).collect()).await?;
        tasks.flush().await
    };
    let mut came = Vec::new();
    let sinking = async {
        while (came.len() as u64) < TASKS {
            came.push(stream::take(&mut sink).await?);
        }
        // A task done twice may still be on its way: all that workers did comes here.
        while came.len() < done.borrow().len() {
            came.push(stream::take(&mut sink).await?);
        }
        anyhow::Ok(())
    };
    let all = async {
        tokio::select! {
            biased;
            sunk = async { tokio::try_join!(venting, sinking) } => sunk.map(drop),
            ended = working => bail!("the workers broke: {ended:?}"),
        }
    };
    let done_all = site.soon("every result comes", all).await;
    done_all.with_context(|| format!("{} of {TASKS} results came", came.len()))?;
    each_once(&came, 0..TASKS)
}

/// Tasks are shared as declared.
async fn sharing<L: Pipeline>(site: Site) -> Result<()> {
    match L::SHARING {
        Sharing::OnDemand => on_demand::<L>(site.with(&FEW)).await,
        Sharing::RoundRobin => share::<L>(site, |each| each[0].abs_diff(each[1]) <= 40).await,
        Sharing::Random => share::<L>(site, |each| each.iter().all(|count| *count > 0)).await,
    }
}

/// While one worker sits on its first task, the other does most of the rest.
async fn on_demand<L: Pipeline>(site: Site) -> Result<()> {
    const TASKS: u64 = 400;
    let Plant { mut tasks, mut workers, .. } = plant::<L>(&site, 2).await?;
    let (slow, fast) = workers.split_at_mut(1);
    let (slow, fast) = (&mut slow[0].0, &mut fast[0].0);
    let taken = Cell::new(0);
    let venting = async {
        tasks.put((0..TASKS).map(|number| message(number, 64)).collect()).await?;
        tasks.flush().await
    };
    let slowly = async {
        // Takes one task and never finishes it.
        slow.get().await?.context("no task can come any more")?;
        std::future::pending::<Result<()>>().await
    };
    let quickly = async {
        while taken.get() <= TASKS / 2 {
            stream::take(fast).await?;
            taken.set(taken.get() + 1);
        }
        Ok(())
    };
    let all = async {
        tokio::select! {
            biased;
            done = quickly => done,
            ended = slowly => ended,
            Err(error) = venting => Err(error),
        }
    };
    let shared = site.soon("the fast worker gets most of the tasks", all).await;
    shared.with_context(|| format!("{} of {TASKS} tasks came to the fast worker", taken.get()))
}

/// Two workers that both keep up: what each of them gets of 400 tasks.
async fn share<L: Pipeline>(site: Site, fair: fn([u64; 2]) -> bool) -> Result<()> {
    const WARM: u64 = 1_000_000;
    let Plant { mut tasks, workers, .. } = plant::<L>(&site, 2).await?;
    let (counts, warm) = ([const { Cell::new(0_u64) }; 2], [const { Cell::new(false) }; 2]);
    let mut receiving = workers;
    let taking = try_join_all(receiving.iter_mut().zip(0..).map(
        async |((rx, _), at): (&mut (In<L::Pull>, _), usize)| -> Result<()> {
            loop {
                match stream::take(rx).await? {
                    WARM => warm[at].set(true),
                    _ => counts[at].set(counts[at].get() + 1),
                }
            }
        },
    ));
    let venting = async {
        // A worker that has just connected may not be known to the ventilator yet.
        while !warm.iter().all(Cell::get) {
            tasks.put(vec![message(WARM, 64)]).await?;
            tasks.flush().await?;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        tasks.put((0..400).map(|number| message(number, 64)).collect()).await?;
        tasks.flush().await?;
        while counts.iter().map(Cell::get).sum::<u64>() < 400 {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    let all = async {
        tokio::select! {
            biased;
            vented = venting => vented,
            ended = taking => bail!("the workers broke: {ended:?}"),
        }
    };
    site.soon("every task is taken", all).await?;
    let each = counts.map(|count| count.get());
    ensure!(fair(each), "the workers got {} and {} of 400 tasks: not {}", each[0], each[1], L::SHARING);
    Ok(())
}

/// `stop` reaches every worker.
async fn control<L: Pipeline>(site: Site) -> Result<()> {
    let place = site.place().namespace("control");
    let (lab, stop) = (L::Control::open(&place).await?, Topic::new("stop")?);
    let joining = try_join_all((0..3).map(|_| lab.subscriber(&Filter::All)));
    let (mut sink, mut workers) = tokio::try_join!(lab.publisher(), joining)?;
    let mut pairs: Vec<_> = workers.iter_mut().map(|worker| (worker, stop.clone())).collect();
    site.soon("everyone hears a probe", probe::<L::Control>(&mut sink, &mut pairs)).await?;
    sink.publish(&stop, message(END, 32)).await?;
    sink.flush().await?;
    let hearing = try_join_all(workers.iter_mut().map(async |worker| hear(worker).await));
    for event in site.soon("stop reaches every worker", hearing).await? {
        ensure!(event.topic == stop, "`{}` came where `stop` was due", event.topic);
    }
    drop((lab, workers, sink));
    <L::Control as Lab>::remove(&place).await
}

/// The tasks of a worker that has gone without a word come to another.
async fn redelivered<L: Pipeline>(site: Site) -> Result<()> {
    const TASKS: u64 = 50;
    let site = site.claiming_soon().with(&FEW);
    let lab = L::open(&site.place()).await?;
    let (push, mut first) = tokio::try_join!(lab.push(Stage::Tasks), lab.pull(Stage::Tasks))?;
    let mut push = Out(push);
    let venting = async {
        push.put((0..TASKS).map(|number| message(number, 64)).collect()).await?;
        push.flush().await
    };
    let working = async {
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(number(&next(&site, &mut first).await?.item)?);
        }
        drop(first);
        let mut second = lab.pull(Stage::Tasks).await?;
        let came = attempts(&site, &mut second, 0..TASKS).await?;
        for number in taken {
            ensure!(came[&number] > 1, "task {number} came again, marked as a first attempt");
        }
        second.close().await
    };
    tokio::try_join!(venting, working).map(drop)
}
