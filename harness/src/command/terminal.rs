//! Whether lines of progress can be drawn again in their place.

use std::io::IsTerminal as _;

/// Whether stderr is a terminal that can move its cursor. Any other gets plain lines, as a file
/// does; so does a terminal that does not say what it is.
pub(crate) fn live_terminal() -> bool {
    let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    std::io::stderr().is_terminal() && moves
}
