//! Type-erased labs and ends, for code that does not measure: applications, and roles played
//! by hand. Such code is compiled once instead of once per lab, which saves most of a build's
//! time; a box per call does not matter there. Code that measures never uses these types.
//!
//! A lab is made of functions that open it: [`PubSubLab::of`] and so on. A crate that calls `of`
//! gets the client libraries compiled into it, so only the harness does, where the measured
//! loops have them already.

use std::any::Any;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use crate::message::Event;
use crate::oneway::{Receiver, Sender};
use crate::pubsub::{Publisher, Subscriber};
use crate::queue::{Consumer, DeadLetter, DeadLetters, Delivery, Producer};
use crate::reqrep::{Command, Document, Requester, Responder};
use crate::topic::Topic;

mod labs;

pub use labs::{DurableLab, PipelineLab, PubSubLab, QueueLab, RequestReplyLab};

/// The future of a call.
type Soon<'a, T> = LocalBoxFuture<'a, Result<T>>;

/// For each contract: the same calls with boxed futures (`trait $dyn`), every end as one
/// (`impl`), and the one type that is such an end (`struct $any`).
macro_rules! erase {
    ($doc:literal $any:ident($dyn:ident): $contract:ident {
        $($call:ident(&$($mutable:ident)? $(, $name:ident: $type:ty)*) -> $returns:ty;)*
    } $(close $close:ident)?) => {
        trait $dyn {
            $(fn $call<'a>(&'a $($mutable)? self $(, $name: $type)*) -> Soon<'a, $returns>;)*
            $(fn $close(self: Box<Self>) -> Soon<'static, ()>;)?
        }
        impl<T: $contract + 'static> $dyn for T {
            $(fn $call<'a>(&'a $($mutable)? self $(, $name: $type)*) -> Soon<'a, $returns> {
                <T as $contract>::$call(self $(, $name)*).boxed_local()
            })*
            $(fn $close(self: Box<Self>) -> Soon<'static, ()> {
                <T as $contract>::$close(*self).boxed_local()
            })?
        }
        #[doc = $doc]
        pub struct $any(Box<dyn $dyn>);
        impl $any {
            /// Erases an end.
            pub fn new(end: impl $contract + 'static) -> Self {
                Self(Box::new(end))
            }
        }
        impl $contract for $any {
            $(async fn $call(&$($mutable)? self $(, $name: $type)*) -> Result<$returns> {
                self.0.$call($($name),*).await
            })*
            $(async fn $close(self) -> Result<()> {
                self.0.$close().await
            })?
        }
    };
}

erase!("A sender of any lab." AnySender(DynSender): Sender {
    send(&mut, body: Bytes) -> ();
    flush(&mut) -> ();
} close close);
erase!("A receiver of any lab." AnyReceiver(DynReceiver): Receiver {
    recv(&mut) -> Option<Bytes>;
});
erase!("A subscriber of any lab." AnySubscriber(DynSubscriber): Subscriber {
    next(&mut) -> Option<Event>;
});
erase!("A requester of any lab." AnyRequester(DynRequester): Requester {
    ask(&, request: Command) -> Document;
});
erase!("A producer of any lab." AnyProducer(DynProducer): Producer {
    send(&, body: Bytes) -> ();
} close close);

// A publisher borrows its topic and dead letters their id; responders and consumers have types of
// their own.

trait DynPublisher {
    fn publish<'a>(&'a mut self, topic: &'a Topic, body: Bytes) -> Soon<'a, ()>;
    fn flush(&mut self) -> Soon<'_, ()>;
    fn close(self: Box<Self>) -> Soon<'static, ()>;
}

impl<T: Publisher + 'static> DynPublisher for T {
    fn publish<'a>(&'a mut self, topic: &'a Topic, body: Bytes) -> Soon<'a, ()> {
        Publisher::publish(self, topic, body).boxed_local()
    }
    fn flush(&mut self) -> Soon<'_, ()> {
        Publisher::flush(self).boxed_local()
    }
    fn close(self: Box<Self>) -> Soon<'static, ()> {
        Publisher::close(*self).boxed_local()
    }
}

/// A publisher of any lab.
pub struct AnyPublisher(Box<dyn DynPublisher>);

impl AnyPublisher {
    /// Erases an end.
    pub fn new(end: impl Publisher + 'static) -> Self {
        Self(Box::new(end))
    }
}

impl Publisher for AnyPublisher {
    async fn publish(&mut self, topic: &Topic, body: Bytes) -> Result<()> {
        self.0.publish(topic, body).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

/// A receipt or a return address of any lab.
pub type Token = Box<dyn Any>;

/// What `token` was when the lab gave it.
fn own<T: 'static>(token: Token) -> Result<T> {
    let token = token.downcast().ok().context("this belongs to another lab")?;
    Ok(*token)
}

trait DynResponder {
    fn next(&mut self) -> Soon<'_, Option<(Command, Token)>>;
    fn reply(&mut self, to: Token, reply: Document) -> Soon<'_, ()>;
}

impl<T: Responder<ReplyTo: 'static> + 'static> DynResponder for T {
    fn next(&mut self) -> Soon<'_, Option<(Command, Token)>> {
        let next = Responder::next(self);
        let erase = |(request, to)| (request, Box::new(to) as Token);
        async move { Ok(next.await?.map(erase)) }.boxed_local()
    }
    fn reply(&mut self, to: Token, reply: Document) -> Soon<'_, ()> {
        async move { Responder::reply(self, own(to)?, reply).await }.boxed_local()
    }
}

/// A responder of any lab.
pub struct AnyResponder(Box<dyn DynResponder>);

impl AnyResponder {
    /// Erases an end.
    pub fn new(end: impl Responder<ReplyTo: 'static> + 'static) -> Self {
        Self(Box::new(end))
    }
}

impl Responder for AnyResponder {
    type ReplyTo = Token;

    async fn next(&mut self) -> Result<Option<(Command, Token)>> {
        self.0.next().await
    }
    async fn reply(&mut self, to: Token, reply: Document) -> Result<()> {
        self.0.reply(to, reply).await
    }
}

trait DynConsumer<Item> {
    fn next(&mut self) -> Soon<'_, Option<Delivery<Item, Token>>>;
    fn ack(&mut self, receipt: Token) -> Soon<'_, ()>;
    fn nack(&mut self, receipt: Token) -> Soon<'_, ()>;
    fn flush(&mut self) -> Soon<'_, ()>;
    fn close(self: Box<Self>) -> Soon<'static, ()>;
}

impl<T: Consumer<Receipt: 'static> + 'static> DynConsumer<T::Item> for T {
    fn next(&mut self) -> Soon<'_, Option<Delivery<T::Item, Token>>> {
        let next = Consumer::next(self);
        let erase = |Delivery { item, attempt, receipt }| Delivery {
            item,
            attempt,
            receipt: Box::new(receipt) as Token,
        };
        async move { Ok(next.await?.map(erase)) }.boxed_local()
    }
    fn ack(&mut self, receipt: Token) -> Soon<'_, ()> {
        async move { Consumer::ack(self, own(receipt)?).await }.boxed_local()
    }
    fn nack(&mut self, receipt: Token) -> Soon<'_, ()> {
        async move { Consumer::nack(self, own(receipt)?).await }.boxed_local()
    }
    fn flush(&mut self) -> Soon<'_, ()> {
        Consumer::flush(self).boxed_local()
    }
    fn close(self: Box<Self>) -> Soon<'static, ()> {
        Consumer::close(*self).boxed_local()
    }
}

/// A consumer of any lab: of bodies, or of a durable subscription's events.
pub struct AnyConsumer<Item = Bytes>(Box<dyn DynConsumer<Item>>);

impl<Item> AnyConsumer<Item> {
    /// Erases an end.
    pub fn new(end: impl Consumer<Item = Item, Receipt: 'static> + 'static) -> Self {
        Self(Box::new(end))
    }
}

impl<Item> Consumer for AnyConsumer<Item> {
    type Item = Item;
    type Receipt = Token;

    async fn next(&mut self) -> Result<Option<Delivery<Item, Token>>> {
        self.0.next().await
    }
    async fn ack(&mut self, receipt: Token) -> Result<()> {
        self.0.ack(receipt).await
    }
    async fn nack(&mut self, receipt: Token) -> Result<()> {
        self.0.nack(receipt).await
    }
    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }
    async fn close(self) -> Result<()> {
        self.0.close().await
    }
}

trait DynDeadLetters {
    fn list(&mut self, most: usize) -> Soon<'_, Vec<DeadLetter>>;
    fn give_back<'a>(&'a mut self, id: &'a str) -> Soon<'a, bool>;
    fn discard<'a>(&'a mut self, id: &'a str) -> Soon<'a, bool>;
}

impl<T: DeadLetters + 'static> DynDeadLetters for T {
    fn list(&mut self, most: usize) -> Soon<'_, Vec<DeadLetter>> {
        DeadLetters::list(self, most).boxed_local()
    }
    fn give_back<'a>(&'a mut self, id: &'a str) -> Soon<'a, bool> {
        DeadLetters::give_back(self, id).boxed_local()
    }
    fn discard<'a>(&'a mut self, id: &'a str) -> Soon<'a, bool> {
        DeadLetters::discard(self, id).boxed_local()
    }
}

/// The dead letters of any queue lab.
pub struct AnyDeadLetters(Box<dyn DynDeadLetters>);

impl AnyDeadLetters {
    /// Erases them.
    pub fn new(letters: impl DeadLetters + 'static) -> Self {
        Self(Box::new(letters))
    }
}

impl DeadLetters for AnyDeadLetters {
    async fn list(&mut self, most: usize) -> Result<Vec<DeadLetter>> {
        self.0.list(most).await
    }
    async fn give_back(&mut self, id: &str) -> Result<bool> {
        self.0.give_back(id).await
    }
    async fn discard(&mut self, id: &str) -> Result<bool> {
        self.0.discard(id).await
    }
}
