//! What a scene has shown.

/// The answer of a scene to its question.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The number that was asked for; `None` where it could not be found out.
    pub(crate) happened: Option<f64>,
    /// What was counted, in a sentence.
    pub(crate) told: String,
    /// Why it is so, with the lab's constants.
    pub(crate) why: String,
}

impl Seen {
    /// A count, and why.
    pub(super) fn count(happened: usize, told: String, why: String) -> Self {
        Self { happened: Some(happened as f64), told, why }
    }
}

/// `1 message`, `2 messages`.
pub(super) fn many(count: usize, thing: &str) -> String {
    if count == 1 { format!("{count} {thing}") } else { format!("{count} {thing}s") }
}

/// `is` for one, else `are`.
pub(super) const fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
