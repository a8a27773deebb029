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
    // Connect, and join. Without a broker the ventilator and the sink bind, and workers connect.
    let lab = L::open(place).await?;
    let worker = async || tokio::try_join!(lab.pull(Stage::Tasks), lab.push(Stage::Results));
    let (mut ventilator, ann, bob, mut sink) =
        tokio::try_join!(lab.push(Stage::Tasks), worker(), worker(), lab.pull(Stage::Results))?;

    for number in 1..=TASKS {
        ventilator.send(number.to_string().into()).await?;
    }
    ventilator.flush().await?;
    let collect = async move {
        let mut sum = 0;
        for _ in 0..TASKS {
            // Where workers may die, a task can be done twice; `lab crack` shows what follows.
            let Some(result) = sink.next().await? else { break };
            sum += std::str::from_utf8(&result.item)?.parse::<u64>()?;
            sink.ack(result.receipt).await?;
        }
        sink.flush().await?;
        anyhow::Ok(writeln!(out, "the sum of the squares of 1 to {TASKS} is {sum}")?)
    };
    // Workers go on for ever: here, until the sink has everything.
    tokio::select! { ended = collect => ended?, ended = work::<L>(ann) => ended?, ended = work::<L>(bob) => ended? }

    // Leave, and leave nothing in the broker.
    ventilator.close().await?;
    L::remove(place).await
}

/// A worker takes from the one stage and sends to the other.
async fn work<L: Pipeline>((mut tasks, mut results): (L::Pull, L::Push)) -> Result<()> {
    while let Some(task) = tasks.next().await? {
        let number: u64 = std::str::from_utf8(&task.item)?.parse()?;
        results.send((number * number).to_string().into()).await?;
        // The result first: a worker that dies before the ack leaves a task done twice, none lost.
        results.flush().await?;
        tasks.ack(task.receipt).await?;
        tasks.flush().await?;
    }
    Ok(())
}

labs::example!(pipeline, Pipeline, program);
