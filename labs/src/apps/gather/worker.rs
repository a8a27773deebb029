//! The answering side of scatter-gather: says that it is there, and answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{HEARTBEAT, HERE, QUESTIONS, is_name};
use crate::apps::answer::{self, Answer};
use crate::erased::PubSubLab;
use crate::place::Place;
use crate::pubsub::{Publisher, Subscriber};
use crate::reqrep::return_address::{ReturnAddress, open_request, reply_letter};
use crate::topic::{Filter, Topic};

/// Answers that a slow worker may owe at once; what is asked meanwhile it drops.
const OWED: usize = 64;

/// Works until `stop`: announces itself, and answers every question with what
/// `answer` says, `delay` later. Returns how many questions were dropped: no
/// letters, or one too many for a worker that is too slow.
pub async fn work(
    lab: &PubSubLab,
    place: &Place,
    name: &str,
    delay: Duration,
    mut answer: impl FnMut(&str) -> Answer,
    stop: impl Future<Output = ()>,
) -> Result<u64> {
    ensure!(is_name(name), "`{name}` is not a name: use letters, digits, `_` and `-`, 64 at most");
    // Whoever announces itself is asked: so it listens first.
    let mut questions = lab.subscriber(place, &Filter::Exact(Topic::new(QUESTIONS)?)).await?;
    let (mut publisher, here) = (lab.publisher(place).await?, Topic::new(HERE)?);
    let (mut owed, mut dropped) = (FuturesUnordered::new(), 0);
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = beat.tick() => {
                publisher.publish(&here, format!("here {name}").into()).await?;
                publisher.flush().await?;
            }
            question = questions.next() => {
                let question = question?.context("nobody can ask any more")?;
                match read(&question.body) {
                    Some((address, id, question)) if owed.len() < OWED => {
                        let text = format!("{name} {}", answer::write(&answer(&question)));
                        let letter = Bytes::from(reply_letter(&id, text.as_bytes()));
                        owed.push(async move {
                            // Without a delay not even the timer's millisecond.
                            if !delay.is_zero() {
                                sleep(delay).await;
                            }
                            (address, letter)
                        });
                    }
                    _ => dropped += 1,
                }
            }
            Some((address, letter)) = owed.next() => {
                publisher.publish(&address, letter).await?;
                publisher.flush().await?;
            }
        }
    }
    publisher.publish(&here, format!("left {name}").into()).await?;
    publisher.close().await.map(|()| dropped)
}

/// A question, and where its answer goes. An address is a topic below `to`:
/// nobody can make workers talk to each other, or to themselves.
fn read(letter: &Bytes) -> Option<(Topic, Bytes, String)> {
    let (ReturnAddress { address, id }, question) = open_request(letter)?;
    let address = std::str::from_utf8(&address).ok().filter(|address| address.starts_with("to."))?;
    Some((Topic::new(address).ok()?, id, std::str::from_utf8(&question).ok()?.to_owned()))
}

/// `here NAME` or `left NAME`: who, and whether it stays.
pub(super) fn read_heartbeat(body: &[u8]) -> Option<(&str, bool)> {
    let (word, name) = std::str::from_utf8(body).ok()?.split_once(' ')?;
    let stays = match word {
        "here" => true,
        "left" => false,
        _ => return None,
    };
    is_name(name).then_some((name, stays))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_say_who_comes_and_goes() {
        assert_eq!(read_heartbeat(b"here worker-1"), Some(("worker-1", true)));
        assert_eq!(read_heartbeat(b"left worker-1"), Some(("worker-1", false)));
        for bad in ["", "here", "here ", "here a b", "here <b>", "gone a", "here a.b"] {
            assert_eq!(read_heartbeat(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn only_return_addresses_are_answered() {
        for (letter, good) in [
            ("to.me 7\nstatus", true),
            ("here 7\nstatus", false),
            ("ask 7\nstatus", false),
            ("to. 7\nstatus", false),
            ("status", false),
        ] {
            assert_eq!(read(&Bytes::from(letter)).is_some(), good, "{letter:?}");
        }
    }
}
