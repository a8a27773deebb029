//! What a user can do to a running lab.

use serde::Deserialize;

/// The longest text of a message that a user sends, characters.
pub(super) const LONGEST_TEXT: usize = 200;

/// One act, as the page sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Act {
    /// Sends one message.
    Send {
        text: String,
        /// For publishers.
        #[serde(default)]
        topic: Option<String>,
    },
    /// One message each second, or not any more.
    Auto { on: bool },
    /// One more role joins, late.
    Join,
    /// kill -9.
    Kill { role: String },
    /// Starts a role again that is gone.
    Restart { role: String },
    /// SIGSTOP.
    Pause { role: String },
    /// SIGCONT.
    Resume { role: String },
    /// The role takes longer for each message.
    Slow { role: String },
    /// It does not any more.
    Quick { role: String },
    /// Resets all connections.
    Cut,
    /// kill -9 of the broker.
    KillBroker,
    /// Starts the broker again.
    RestartBroker,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_read_and_strange_ones_refused() {
        let read = |text: &str| serde_json::from_str::<Act>(text).ok();
        for (text, act) in [
            (r#"{"act":"join"}"#, Some(Act::Join)),
            (r#"{"act":"kill-broker"}"#, Some(Act::KillBroker)),
            (r#"{"act":"kill","role":"worker-0"}"#, Some(Act::Kill { role: "worker-0".into() })),
            (r#"{"act":"send","text":"a"}"#, Some(Act::Send { text: "a".into(), topic: None })),
            (r#"{"act":"kill"}"#, None),
            (r#"{"act":"explode"}"#, None),
            (r#"{"act":"kill","role":["a"]}"#, None),
            (r#"{"act":"kill","role":"a","all":true}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(read(text), act, "{text}");
        }
    }

    #[test]
    fn fuzz_view_acts() {
        let seeds = [r#"{"act":"send","text":"hello","topic":"news.sport"}"#, r#"{"act":"auto","on":false}"#];
        fuzz::Target::new("view_acts").seeds(seeds).run(|input| serde_json::from_slice::<Act>(input).is_ok());
    }
}
