//! What the supervisor hears from a role.

use crate::roles::protocol::FromRole;

/// A line from a role, or its end.
#[derive(Debug, Clone)]
pub enum Heard {
    /// It said something.
    Line(FromRole),
    /// It has ended; `Some`: not as it should, and why.
    Left(Option<String>),
}
