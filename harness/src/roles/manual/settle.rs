//! Consumers and workers that are played by hand: what they hold is settled when they are told.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result};
use labs::erased::{AnyConsumer, AnySender};
use labs::oneway::Sender;
use labs::queue::{Consumer, Delivery};

use crate::roles::adapters::SenderSink;
use crate::roles::context::RoleContext;
use crate::roles::message_text::MessageText;
use crate::roles::protocol::{Event, RoleCommand, What};
use crate::roles::send_loop::MessageSink;

pub(super) async fn settle(
    context: &mut RoleContext,
    mut consumer: AnyConsumer,
    mut results: Option<SenderSink<AnySender>>,
) -> Result<()> {
    context.ready();
    let mut open: VecDeque<Delivery<MessageText, <AnyConsumer as Consumer>::Receipt>> = VecDeque::new();
    let mut auto: Option<Duration> = None;
    loop {
        let act = match auto.filter(|_| !open.is_empty()) {
            // Whatever is open is worked on, also what came before the word did.
            Some(work) => {
                tokio::time::sleep(work).await;
                RoleCommand::Ack
            }
            None => tokio::select! {
                act = context.act() => match act {
                    None => break,
                    Some(RoleCommand::Auto { work_ms }) => {
                        auto = Some(Duration::from_millis(work_ms));
                        continue;
                    }
                    Some(act) => act,
                },
                delivery = consumer.next() => {
                    let Some(delivery) = delivery? else {
                        context.say(What::Ended, "no more events can arrive");
                        context.stop().await;
                        break;
                    };
                    let (text, attempt) = (MessageText::from(&delivery.item), delivery.attempt);
                    context.event(Event { attempt: Some(attempt), ..Event::new(What::Received, text.clone()) });
                    open.push_back(Delivery { item: text, attempt, receipt: delivery.receipt });
                    continue;
                }
            },
        };
        if !matches!(act, RoleCommand::Ack | RoleCommand::Nack) {
            context.cannot(&act);
            continue;
        }
        let Some(delivery) = open.pop_front() else {
            context.say(What::Failed, "no delivery waits to be settled");
            continue;
        };
        let (settled, done) = match act {
            RoleCommand::Ack => {
                if let Some(results) = &mut results {
                    let mut result = format!("{} did: ", context.init.role()).into_bytes();
                    result.extend_from_slice(delivery.item.bytes());
                    let result = MessageText::from(result);
                    let written = Event::new(What::Written, result.clone());
                    results.put(result.bytes().clone()).await?;
                    results.flush().await?;
                    context.event(Event { about: Some(delivery.item.to_string()), ..written });
                }
                let what = if delivery.receipt.is::<()>() { What::Finished } else { What::Acked };
                (Event::new(what, delivery.item), consumer.ack(delivery.receipt).await)
            }
            _ => (Event::new(What::Nacked, delivery.item), consumer.nack(delivery.receipt).await),
        };
        match done {
            Ok(()) => {
                consumer.flush().await?;
                context.event(Event { attempt: Some(delivery.attempt), ..settled });
            }
            Err(error) => context.say(What::Failed, format!("{error:#}")),
        }
    }
    consumer.close().await.context("while leaving")?;
    match results {
        Some(results) => results.sender.close().await,
        None => Ok(()),
    }
}
