//! A worker of scatter-gather: announces itself, and answers questions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::message::{HEARTBEAT, HERE, QUESTIONS, answer_message, heartbeat, is_name, read_question};
use crate::apps::answer::Answer;
use crate::erased::PubSubLab;
use crate::place::Place;
use crate::pubsub::{Publisher, Subscriber};
use crate::topic::{Filter, Topic};

/// Answers that wait for their delay, at most; further questions are dropped.
const PENDING: usize = 64;

/// Works until `stop` resolves: announces itself, and answers each question with
/// what `answer` returns, `delay` later. Returns how many questions were dropped,
/// because they could not be read or because too many answers were pending.
pub async fn work(
    lab: &PubSubLab,
    place: &Place,
    name: &str,
    delay: Duration,
    mut answer: impl FnMut(&str) -> Answer,
    stop: impl Future<Output = ()>,
) -> Result<u64> {
    ensure!(is_name(name), "`{name}` is not a name: use letters, digits, `_` and `-`, 64 at most");
    // A worker that has announced itself is asked, so it listens first.
    let mut questions = lab.subscriber(place, &Filter::Exact(Topic::new(QUESTIONS)?)).await?;
    let (mut publisher, here) = (lab.publisher(place).await?, Topic::new(HERE)?);
    let (mut pending, mut dropped) = (FuturesUnordered::new(), 0);
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = beat.tick() => {
                publisher.publish(&here, heartbeat(name, true)).await?;
                publisher.flush().await?;
            }
            question = questions.next() => {
                let question = question?.context("the subscription has ended")?;
                match read_question(&question.body) {
                    Some((address, id, question)) if pending.len() < PENDING => {
                        let reply = answer_message(&id, name, &answer(&question));
                        pending.push(async move {
                            // A timer of 0 ms takes about 1 ms.
                            if !delay.is_zero() {
                                sleep(delay).await;
                            }
                            (address, reply)
                        });
                    }
                    Some(_) => dropped += 1,
                    None => {
                        dropped += 1;
                        place.message_skipped("not a question");
                    }
                }
            }
            Some((address, reply)) = pending.next() => {
                publisher.publish(&address, reply).await?;
                publisher.flush().await?;
            }
        }
    }
    publisher.publish(&here, heartbeat(name, false)).await?;
    publisher.close().await.map(|()| dropped)
}
