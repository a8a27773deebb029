//! Output that nobody reads any more, as in `lab bench | head -1`.

use std::io::ErrorKind;

use anyhow::{Error, Result};

/// Whether the reader of our output has closed it.
pub(crate) fn is_unread(error: &Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Goes on where nobody reads any more: what is left to do, and the exit code, still count.
pub(crate) fn or_unread(printed: Result<()>) -> Result<()> {
    printed.or_else(|error| if is_unread(&error) { Ok(()) } else { Err(error) })
}
