//! What a handler comes to, as text: `ok TEXT` or `error TEXT`. A request that
//! cannot be done is answered like any other, so that whoever asked learns of it
//! at once and not from a deadline, and nobody delivers it again.

/// The text of an answer, or what went wrong.
pub type Answer = Result<String, String>;

/// The answer as text.
pub fn write(answer: &Answer) -> String {
    match answer {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("error {error}"),
    }
}

/// Reads an answer; `None` where it is none.
pub fn read(text: &str) -> Option<Answer> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("ok", text) => Some(Ok(text.to_owned())),
        ("error", error) => Some(Err(error.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_can_be_read(text: String, good: bool) {
            let answer = if good { Ok(text) } else { Err(text) };
            prop_assert_eq!(read(&write(&answer)), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for text in ["", " ok x", "okay x", "OK x", "errors", "7 ok x"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read("ok"), Some(Ok(String::new())), "an answer may be empty");
    }
}
