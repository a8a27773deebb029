//! Consumers and workers that are played by hand: what they hold is settled when they are told.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use labs::erased::{AnyConsumer, AnySender};
use labs::oneway::Sender;
use labs::queue::{Consumer, Delivery};
use labs::recovery::Remembered;

use super::burst::{shown, work};
use crate::roles::adapters::SenderSink;
use crate::roles::context::RoleContext;
use crate::roles::message_text::MessageText;
use crate::roles::protocol::{AckWhen, Event, RoleCommand, What, Work};
use crate::roles::send_loop::MessageSink;

/// Messages that an idempotent consumer remembers.
const REMEMBERED: usize = 10_000;

type Open = Delivery<MessageText, <AnyConsumer as Consumer>::Receipt>;

/// A consumer, and what it holds.
struct Settling<'a> {
    context: &'a mut RoleContext,
    consumer: AnyConsumer,
    results: Option<SenderSink<AnySender>>,
    open: VecDeque<Open>,
    /// Deliveries that are never settled.
    held: Vec<Open>,
    /// How it handles what comes, once it was told.
    rule: Option<(Work, Option<Remembered>)>,
}

pub(super) async fn settle(
    context: &mut RoleContext,
    consumer: AnyConsumer,
    results: Option<SenderSink<AnySender>>,
) -> Result<()> {
    context.ready();
    let mut settling =
        Settling { context, consumer, results, open: VecDeque::new(), held: Vec::new(), rule: None };
    settling.run().await?;
    settling.consumer.close().await.context("while leaving")?;
    match settling.results {
        Some(results) => results.sender.close().await,
        None => Ok(()),
    }
}

impl Settling<'_> {
    async fn run(&mut self) -> Result<()> {
        loop {
            // Deliveries that came before the rule are handled by it, too.
            if self.rule.is_some()
                && let Some(delivery) = self.open.pop_front()
            {
                self.handle(delivery).await?;
                continue;
            }
            tokio::select! {
                act = self.context.act() => match act {
                    None => return Ok(()),
                    Some(RoleCommand::Auto { work_ms }) => {
                        self.rule = Some((Work { work_ms, quiet: true, ..Work::default() }, None));
                    }
                    Some(RoleCommand::Work(rule)) => {
                        let once = rule.once.as_deref().map(|file| Remembered::open(file, REMEMBERED));
                        self.rule = Some((rule, once.transpose()?));
                    }
                    Some(act @ (RoleCommand::Ack | RoleCommand::Nack)) => match self.open.pop_front() {
                        None => self.context.say(What::Failed, "no delivery waits to be settled"),
                        Some(delivery) if act == RoleCommand::Nack => self.give_back(delivery).await?,
                        Some(delivery) => {
                            self.put_result(&delivery).await?;
                            self.ack(delivery).await?;
                        }
                    },
                    Some(act) => self.context.cannot(&act),
                },
                delivery = self.consumer.next() => {
                    let Some(delivery) = delivery? else {
                        self.context.say(What::Ended, "no more events can arrive");
                        self.context.stop().await;
                        return Ok(());
                    };
                    let (item, attempt) = (shown(self.context, &delivery.item), delivery.attempt);
                    self.context.event(Event { attempt: Some(attempt), ..Event::new(What::Received, item.clone()) });
                    self.open.push_back(Delivery { item, attempt, receipt: delivery.receipt });
                }
            }
        }
    }

    /// Handles a delivery by the rule.
    async fn handle(&mut self, delivery: Open) -> Result<()> {
        let Some((rule, remembered)) = &mut self.rule else { return Ok(()) };
        let text = delivery.item.to_string();
        let (rule, attempt) = (rule.clone(), Some(delivery.attempt));
        if remembered.as_ref().is_some_and(|remembered| remembered.contains(delivery.item.bytes())) {
            self.context.event(Event { attempt, ..Event::new(What::Again, text) });
            return self.ack(delivery).await;
        }
        if rule.refuse.as_ref().is_some_and(|refused| text.contains(refused)) {
            return self.give_back(delivery).await;
        }
        let slow = rule.slow.as_ref().filter(|(marker, _)| text.contains(marker));
        let work_ms = slow.map_or(rule.work_ms, |(_, work_ms)| *work_ms);
        let effect = |settling: &mut Self| {
            // The effect and the memory of it are one step, as in one transaction.
            if let Some((_, Some(remembered))) = &mut settling.rule {
                remembered.insert(text.as_bytes())?;
            }
            if !rule.quiet {
                settling.context.event(Event { attempt, ..Event::new(What::Effect, text.clone()) });
            }
            anyhow::Ok(())
        };
        match rule.ack {
            AckWhen::Before => {
                let result = delivery.item.clone();
                self.ack(delivery).await?;
                work(work_ms).await;
                self.put_result_of(&result).await?;
                effect(self)
            }
            AckWhen::After => {
                work(work_ms).await;
                self.put_result(&delivery).await?;
                effect(self)?;
                self.ack(delivery).await
            }
            AckWhen::Never => {
                work(work_ms).await;
                effect(self)?;
                self.held.push(delivery);
                Ok(())
            }
        }
    }

    async fn put_result(&mut self, delivery: &Open) -> Result<()> {
        let task = delivery.item.clone();
        self.put_result_of(&task).await
    }

    /// The result of a task, for those who send results.
    async fn put_result_of(&mut self, task: &MessageText) -> Result<()> {
        let Some(results) = &mut self.results else { return Ok(()) };
        let mut result = format!("{} did: ", self.context.init.role()).into_bytes();
        result.extend_from_slice(task.bytes());
        let result = MessageText::from(result);
        let written = Event::new(What::Written, result.clone());
        results.put(result.bytes().clone()).await?;
        results.flush().await?;
        self.context.event(Event { about: Some(task.to_string()), ..written });
        Ok(())
    }

    async fn ack(&mut self, delivery: Open) -> Result<()> {
        let what = if delivery.receipt.is::<()>() { What::Finished } else { What::Acked };
        let settled = Event { attempt: Some(delivery.attempt), ..Event::new(what, delivery.item) };
        let done = self.consumer.ack(delivery.receipt).await;
        self.settled(settled, done).await
    }

    async fn give_back(&mut self, delivery: Open) -> Result<()> {
        let settled = Event { attempt: Some(delivery.attempt), ..Event::new(What::Nacked, delivery.item) };
        let done = self.consumer.nack(delivery.receipt).await;
        self.settled(settled, done).await
    }

    async fn settled(&mut self, settled: Event, done: Result<()>) -> Result<()> {
        match done {
            Ok(()) => {
                self.consumer.flush().await?;
                self.context.event(settled);
            }
            Err(error) => self.context.say(What::Failed, format!("{error:#}")),
        }
        Ok(())
    }
}
