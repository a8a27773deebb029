//! How much a role records. It is a type, so that a loop is compiled for one kind and
//! asks nothing of a message: the harness compiles its loops for [`Full`] alone.

/// Messages for each look at the clock where messages are only counted.
pub(super) const UNINSTRUMENTED_LOOK: u32 = 64;

/// How much a role records of its messages.
pub trait Recording: Send + 'static {
    /// Whether an account is kept of every message; else messages are only counted.
    const ACCOUNTS: bool;
}

/// Every message has a header, is checked, accounted for and recorded.
pub enum Full {}

/// No header, no checksum, no account, no times: the same message over and over, and
/// its count. What such a loop moves more than a full one is what the harness holds
/// back, and that is all it is for: it cannot tell a lost message from a slow one, so
/// no result is made of it. `./run ratios --own` compiles its loops for it.
pub enum Uninstrumented {}

impl Recording for Full {
    const ACCOUNTS: bool = true;
}

impl Recording for Uninstrumented {
    const ACCOUNTS: bool = false;
}
