//! The name of the place where roles that are played by hand meet.

use anyhow::{Result, bail};

use crate::command::Usage;
use crate::roles::Handle;

/// How the names of places begin where those who play meet; the pattern follows, because roles of
/// different patterns use a broker in different ways.
const PLACE: &str = "lab-play";

/// The name that was given, or else the usual one of the lab's pattern: a word, because brokers use
/// it in subjects, topics and keys.
pub(super) fn place_name(handle: &Handle, given: Option<&str>) -> Result<String> {
    let Some(place) = given else {
        // Variants of a lab use a broker in different ways, too.
        let variant = handle.entry.variant.map(|variant| format!("-{variant}")).unwrap_or_default();
        return Ok(format!("{PLACE}-{}{variant}", handle.entry.pattern));
    };
    let word = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
    if place.is_empty() || place.len() > 64 || !place.bytes().all(word) {
        bail!(Usage(format!("--place `{place}` is not a name: use 1 to 64 letters, digits, `_` or `-`")));
    }
    Ok(place.to_owned())
}
