//! What several labs of one family share.

pub(crate) mod amqp;
pub(crate) mod lease;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod waiting;
pub(crate) mod window;
