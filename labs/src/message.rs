//! The three intents of a message. On the wire all of them are plain bytes;
//! the types prevent sending a reply where a request belongs.
//!
//! The names are those of Hohpe and Woolf, "Enterprise Integration Patterns":
//! Command Message, Document Message, Event Message.

use std::ops::Deref;

use bytes::Bytes;

use crate::topic::Topic;

/// Do this, and tell me: it expects an answer, and has one receiver. Requesters send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(pub Bytes);

/// Here is the information you asked for: the receiver decides what to do with it. Responders
/// send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(pub Bytes);

/// This has happened: everyone interested may receive it, and nobody answers. Publishers send
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its topic.
    pub topic: Topic,
    /// The message.
    pub body: Bytes,
}

macro_rules! plain_bytes {
    ($($intent:ident),*) => {$(
        impl<B: Into<Bytes>> From<B> for $intent {
            fn from(body: B) -> Self {
                Self(body.into())
            }
        }

        impl Deref for $intent {
            type Target = Bytes;

            fn deref(&self) -> &Bytes {
                &self.0
            }
        }
    )*};
}
plain_bytes!(Command, Document);
