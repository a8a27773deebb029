//! The erased ends of [`labs::erased`], for the roles that are played by hand.

pub(super) use labs::erased::{
    AnyConsumer, AnyProducer, AnyPublisher, AnyReceiver, AnyRequester, AnyResponder, AnySender, AnySubscriber,
};
