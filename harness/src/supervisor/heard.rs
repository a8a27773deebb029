//! What the supervisor hears from a role.

use super::remote::Side;
use crate::roles::protocol::FromRole;

/// A line from a role, or its end.
#[derive(Debug, Clone)]
pub enum Heard {
    /// It said something.
    Line(FromRole),
    /// It ran elsewhere; what is known of the other side. Comes before its end.
    Remote(Box<Side>),
    /// It has ended; `Some`: not as it should, and why.
    Left(Option<String>),
}
