//! What several labs of one family share.

pub(crate) mod amqp;
pub(crate) mod redis;
