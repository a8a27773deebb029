//! Many messages from one command, at a pace or as fast as the lab takes them.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use labs::erased::AnyProducer;
use labs::queue::Producer as _;

use crate::measure::clock::{self, Pacer};
use crate::roles::context::RoleContext;
use crate::roles::message_text::MessageText;
use crate::roles::protocol::{Burst, Event, Flush, What};

/// The messages of a burst, each when it is due.
pub(super) struct Due<'a> {
    burst: &'a Burst,
    begin: u64,
    pacer: Pacer,
}

impl<'a> Due<'a> {
    pub(super) fn of(burst: &'a Burst) -> Result<Self> {
        Ok(Self { burst, begin: clock::now(), pacer: Pacer::new()? })
    }

    /// Waits until this message is due. At most one turn of the runtime where it is late already, so
    /// that the connection is served.
    pub(super) async fn wait(&self, number: u32) -> Result<()> {
        let behind = u64::from(number - self.burst.first) * self.burst.every_us * 1_000;
        match self.begin + behind {
            due if due > clock::now() => self.pacer.sleep_until(due).await.map(drop),
            _ => {
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }

    pub(super) fn body(&self, number: u32) -> Bytes {
        self.burst.body(number).into()
    }
}

/// A burst of messages that are written, one after the other; `put` learns whether a flush follows.
pub(super) async fn write(
    context: &RoleContext,
    burst: &Burst,
    mut put: impl AsyncFnMut(Bytes, bool) -> Result<()>,
) -> Result<()> {
    let due = Due::of(burst)?;
    for number in burst.numbers() {
        due.wait(number).await?;
        let written = Event::new(What::Written, burst.text(number));
        let last = number + 1 == burst.numbers().end;
        let flush = burst.flush == Flush::Each || last && burst.flush == Flush::Last;
        put(due.body(number), flush).await?;
        context.event(written);
    }
    Ok(())
}

/// A burst of messages of which many wait for their confirmation.
pub(super) async fn confirm(context: &RoleContext, burst: &Burst, producer: &AnyProducer) -> Result<()> {
    let due = Due::of(burst)?;
    let mut open = FuturesUnordered::new();
    let most = if burst.in_flight == 0 { usize::MAX } else { burst.in_flight };
    let mut numbers = burst.numbers();
    let mut next = numbers.next();
    loop {
        tokio::select! {
            biased;
            Some((text, confirmed)) = open.next() => tell(context, text, confirmed),
            waited = async { due.wait(next.unwrap_or(burst.first)).await }, if next.is_some() && open.len() < most => {
                waited?;
                let Some(number) = next else { continue };
                let text = burst.text(number);
                context.say(What::Sent, text.clone());
                let body = due.body(number);
                open.push(async move { (text, producer.send(body).await) });
                next = numbers.next();
            }
            else => return Ok(()),
        }
    }
}

pub(super) fn tell(context: &RoleContext, text: impl Into<MessageText>, confirmed: Result<()>) {
    match confirmed {
        Ok(()) => context.say(What::Confirmed, text),
        Err(error) => context.event(Event {
            about: Some(text.into().to_string()),
            ..Event::new(What::Failed, format!("{error:#}"))
        }),
    }
}

/// What a role played by hand reports of a body.
pub(super) fn shown(context: &RoleContext, body: &Bytes) -> MessageText {
    if context.init.brief {
        MessageText::from(&body.slice(..body.trim_ascii_end().len()))
    } else {
        MessageText::from(body)
    }
}

/// Work on a message.
pub(super) async fn work(work_ms: u64) {
    if work_ms > 0 {
        tokio::time::sleep(Duration::from_millis(work_ms)).await;
    }
}
