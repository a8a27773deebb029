//! What several labs of one family share.
