//! Foreign text for people: what a peer or a broker said goes to terminals and reports without
//! anything that a terminal would act on.

/// `text` with control characters escaped, but for the ends of lines.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push(char),
            char if is_unprintable(char) => shown.extend(char.escape_default()),
            char => shown.push(char),
        }
    }
    shown
}

/// Bytes that a broker sent, in one line: control characters escaped, and what is not UTF-8 replaced.
pub fn printable_bytes(bytes: &[u8]) -> String {
    printable(String::from_utf8_lossy(bytes).trim_end()).replace('\n', "\\n")
}

/// An error with its causes, in one line each: a cause that the text before already has is left
/// out, and what a terminal would act on is escaped.
pub fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(cause.trim()) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    printable(&text)
}

/// `text` without the logins of what looks like an address in it: for text that is quoted before
/// anybody has read it as an address.
pub fn without_logins(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "`'\"<>".contains(c)).unwrap_or(after.len());
        let (address, behind) = after.split_at(end);
        let (address, password) = match address.split_once("pass=") {
            Some((before, value)) => (
                before,
                value.split_once('&').map_or("pass=…".to_owned(), |(_, more)| format!("pass=…&{more}")),
            ),
            None => (address, String::new()),
        };
        match address.rsplit_once('@') {
            // How an address is written, in our own texts.
            Some(("USER:PASSWORD", _)) | None => shown.push_str(address),
            Some((_, host)) => shown.push_str(&format!("…@{host}")),
        }
        shown.push_str(&password);
        rest = behind;
    }
    shown + rest
}

/// Control characters, and those that change the direction of the text around them.
pub(crate) fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nü\u{202e}c"), "a\\u{1b}[2Jb\\r\nü\\u{202e}c");
        assert_eq!(printable_bytes(b"-ERR \xff\x07 no\nmore\r\n"), "-ERR \u{fffd}\\u{7} no\\nmore");
    }

    #[test]
    fn what_looks_like_an_address_has_no_login() {
        for (text, shown) in [
            ("no `redis://me:p@ss@h:7/3` here", "no `redis://…@h:7/3` here"),
            ("amqp://h and nats://token@h", "amqp://h and nats://…@h"),
            ("unix:///s?pass=p@ss&db=3", "unix:///s?pass=…&db=3"),
            ("unix:///s?db=3&pass=word", "unix:///s?db=3&pass=…"),
            ("unix:///s?pass=word&db=3", "unix:///s?pass=…&db=3"),
            ("as in nats://USER:PASSWORD@HOST", "as in nats://USER:PASSWORD@HOST"),
            ("me@host", "me@host"),
        ] {
            assert_eq!(without_logins(text), shown);
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("refused").context("cannot log in: refused").context("cannot connect");
        assert_eq!(causes(&error), "cannot connect: cannot log in: refused");
        assert_eq!(causes(&anyhow!("\u{7}")), "\\u{7}");
    }
}
