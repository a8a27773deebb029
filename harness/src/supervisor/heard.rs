//! What is heard of a role.

use crate::roles::protocol::FromRole;

/// What is heard of a role.
#[derive(Debug, Clone)]
pub enum Heard {
    /// It said something.
    Line(FromRole),
    /// It has ended; `Some`: not as it should, and why.
    Left(Option<String>),
}
