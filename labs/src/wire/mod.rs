//! What several labs of one family share.

pub(crate) mod redis;
