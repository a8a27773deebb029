//! Percent-encoding, as in RFC 3986: each part of an address is decoded once.

use std::fmt::Write as _;

/// The text that an encoded part of an address stands for, or what is wrong with it. The reason
/// does not quote the part, which may be a password.
pub(super) fn decode(part: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|digit| (*digit as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(
                "`%` is not followed by two hexadecimal digits; a percent sign itself is written %25",
            );
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 after decoding")?;
    // No protocol needs them in a name or password, and some end a line or a word with them.
    match text.chars().any(char::is_control) {
        true => Err("it has control characters after decoding"),
        false => Ok(text),
    }
}

/// `text` with everything encoded that is not a letter, a digit or one of `-._~`.
pub(super) fn encode(text: &str) -> String {
    encode_except(text, "")
}

/// An encoded text with its escapes in capital letters, as others write them: `%2F` for `%2f`.
pub(super) fn upper_escapes(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut upper = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at(part.len().min(2));
        upper.extend(["%", &escape.to_ascii_uppercase(), rest]);
    }
    upper
}

/// The same, with further characters left as they are.
pub(super) fn encode_except(text: &str, plain: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let char = byte as char;
        if byte.is_ascii_alphanumeric() || "-._~".contains(char) || (byte.is_ascii() && plain.contains(char))
        {
            encoded.push(char);
        } else {
            // Writing to memory cannot fail.
            let _ = write!(encoded, "%{byte:02x}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded_once() {
        for (part, text) in
            [("", ""), ("p%40ss%2F1", "p@ss/1"), ("%252f", "%2f"), ("a+b", "a+b"), ("%c3%BC", "ü")]
        {
            assert_eq!(decode(part).as_deref(), Ok(text), "{part}");
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text), "{part}");
        }
        for part in ["%", "%4", "%g0", "100%", "%00", "%0a", "%1b", "%ff", "%7f"] {
            assert!(decode(part).is_err(), "{part}");
        }
    }
}
