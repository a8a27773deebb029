//! What a program does wrong before its messages can be judged.

use std::fmt;

/// Why a program could not be judged: the cause, and what to do next. Both are for the student.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) cause: String,
    pub(crate) next: String,
}

impl Trouble {
    pub(crate) fn new(cause: impl Into<String>, next: impl Into<String>) -> Self {
        Self { cause: cause.into(), next: next.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.cause, self.next)
    }
}

impl std::error::Error for Trouble {}
