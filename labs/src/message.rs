//! Three intents a message can have. On the wire all of them are plain bytes;
//! the types keep a reply from being sent where a request belongs.
//!
//! The names are those of Hohpe and Woolf, "Enterprise Integration Patterns":
//! Command Message, Document Message, Event Message.

use std::ops::Deref;

use bytes::Bytes;

use crate::topic::Topic;

/// Do this, and tell me: it wants an answer, and has one receiver. What a
/// requester sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command(pub Bytes);

/// Here is what you want to know: what to do with it is the receiver's affair.
/// What a responder sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(pub Bytes);

/// This has happened: whoever cares may hear it, and nobody answers. What a
/// subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it was published under.
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
