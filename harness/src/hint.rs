//! Commands that messages suggest, in the form that the user typed: `./run lab NAME` if
//! `./run` started this program, otherwise `lab run NAME`. Every word is quoted for a
//! POSIX shell, so that the line can be pasted: a broker's address may contain `&` and
//! `#`.

use std::borrow::Cow;

use shlex::Quoter;

/// The environment variable in which `./run` says how it was called.
pub const INVOKED: &str = "LAB_INVOKED";

/// Commands of `lab` that are recipes of another name.
const RENAMED: [(&[&str], &str); 2] = [(&["run"], "lab"), (&["doctor", "--install"], "brokers")];

/// A suggested command line: `command(&["play", lab, role, "--at", address])`.
pub fn command(words: &[&str]) -> String {
    let invoked = std::env::var(INVOKED).ok().filter(|invoked| !invoked.is_empty());
    line(invoked.as_deref(), words)
}

/// The same, for a program that was invoked as `invoked`; as itself where that is `None`.
pub fn line(invoked: Option<&str>, words: &[&str]) -> String {
    let renamed = RENAMED.iter().find(|(own, _)| match own {
        [name] => words.first() == Some(name),
        all => words == *all,
    });
    let line: Vec<&str> = match (invoked, renamed) {
        (None, _) => [&["lab"], words].concat(),
        (Some(run), None) => [&[run], words].concat(),
        (Some(run), Some((own, recipe))) => [&[run, *recipe], &words[own.len()..]].concat(),
    };
    line.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// A word for a POSIX shell, as it is where that is safe: the library would also
/// quote `batch=64`.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    // Only a zero byte cannot be quoted, and none can come from a command line.
    Quoter::new().allow_nul(true).quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: [&str; 8] = [
        "amqp://me:pass@host:5672/%2f#stomp=61613&mqtt=1883",
        "it's",
        "a b",
        "",
        "$HOME `id` \"x\"",
        "pubsub-*",
        "back\\slash!",
        "new\nline",
    ];

    #[test]
    fn a_line_has_the_form_that_was_invoked() {
        for (words, own, run) in [
            (&["run", "pubsub-redis"][..], "lab run pubsub-redis", "./run lab pubsub-redis"),
            (&["bench", "--resume"], "lab bench --resume", "./run bench --resume"),
            (&["doctor", "--install"], "lab doctor --install", "./run brokers"),
            (
                &["doctor", "--install", "--wheels", "nats"],
                "lab doctor --install --wheels nats",
                "./run doctor --install --wheels nats",
            ),
            (&["list"], "lab list", "./run list"),
            (
                &["bench", "--url", "redis=redis://h:1", "--set", "batch=64"],
                "lab bench --url redis=redis://h:1 --set batch=64",
                "./run bench --url redis=redis://h:1 --set batch=64",
            ),
            (&["play", "x", "y", "--at", "a&b"], "lab play x y --at 'a&b'", "./run play x y --at 'a&b'"),
        ] {
            assert_eq!(line(None, words), own);
            assert_eq!(line(Some("./run"), words), run);
        }
    }

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let words = [&["play"], &HARD[..]].concat();
        let script = format!("printf '%s\\0' {}", line(None, &words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let said = String::from_utf8(output.stdout).expect("text");
        let said: Vec<&str> = said.split_terminator('\0').collect();
        assert_eq!(said, [&["lab"], &words[..]].concat());
    }
}
