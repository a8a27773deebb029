//! Pipeline, as a whole program: a ventilator hands out tasks, workers share them, a sink
//! collects the results.
//!
//!     ./run example pipeline tcp
//!     ./run example pipeline rabbitmq amqp://guest:guest@127.0.0.1:5672

use std::io::Write;

use anyhow::Result;
use labs::lab::Place;
use labs::oneway::Sender as _;
use labs::pipeline::{Pipeline, Stage};
use labs::queue::Consumer as _;

const TASKS: u64 = 10;

pub(crate) async fn program<L: Pipeline>(place: &Place, out: &mut impl Write) -> Result<()> {
    // Connect.
    let lab = L::open(place).await?;
    // Join. Without a broker the ventilator and the sink bind, so that workers can come and go.
    let (mut ventilator, mut ann, mut bob, mut sink) =
        tokio::try_join!(lab.push(Stage::Tasks), worker(&lab), worker(&lab), lab.pull(Stage::Results))?;

    let hand_out = async {
        for number in 1..=TASKS {
            ventilator.send(number.to_string().into()).await?;
        }
        ventilator.flush().await
    };
    let collect = async {
        let mut sum = 0;
        for _ in 0..TASKS {
            // Where workers may die, a task can be done twice; `lab crack` shows what follows.
            let Some(result) = sink.next().await? else { break };
            sum += std::str::from_utf8(&result.item)?.parse::<u64>()?;
            sink.ack(result.receipt).await?;
        }
        sink.flush().await?;
        writeln!(out, "the sum of the squares of 1 to {TASKS} is {sum}")?;
        anyhow::Ok(())
    };
    // Workers go on for ever: here, until the sink has everything.
    tokio::select! {
        done = async { tokio::try_join!(hand_out, collect) } => drop(done?),
        ended = work::<L>(&mut ann) => ended?,
        ended = work::<L>(&mut bob) => ended?,
    }

    // Leave, and leave nothing in the broker.
    ventilator.close().await?;
    drop((ann, bob, sink));
    L::remove(place).await
}

/// A worker takes from the one stage and hands on to the other.
async fn worker<L: Pipeline>(lab: &L) -> Result<(L::Pull, L::Push)> {
    let results = lab.push(Stage::Results).await?;
    Ok((lab.pull(Stage::Tasks).await?, results))
}

async fn work<L: Pipeline>((tasks, results): &mut (L::Pull, L::Push)) -> Result<()> {
    while let Some(task) = tasks.next().await? {
        let number: u64 = std::str::from_utf8(&task.item)?.parse()?;
        results.send((number * number).to_string().into()).await?;
        // First the result is written, then the task is settled: a worker that dies in between
        // leaves a task that is done twice, never one that is lost.
        results.flush().await?;
        tasks.ack(task.receipt).await?;
        tasks.flush().await?;
    }
    Ok(())
}

labs::example!(pipeline, Pipeline, program);
