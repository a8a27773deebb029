//! Objects as YAML for people: mappings and sequences in blocks, and every text that is not plainly one
//! in quotes.

use serde_json::Value;

/// The objects as documents of one stream.
pub(crate) fn documents(objects: &[Value]) -> String {
    let mut out = String::new();
    for object in objects {
        out.push_str("---\n");
        block(object, 0, &mut out);
    }
    out
}

/// A value that begins on a line of its own, `depth` levels in.
fn block(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                out.push_str(&format!("{indent}{}:", text(name)));
                behind(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                // The first line of the item stands behind its dash.
                out.push_str(&format!("{indent}- {}", inner.trim_start_matches(' ')));
            }
        }
        scalar => out.push_str(&format!("{indent}{}\n", flat(scalar))),
    }
}

/// A value behind `name:`.
fn behind(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, depth + 1, out);
        }
        scalar => out.push_str(&format!(" {}\n", flat(scalar))),
    }
}

/// A value on one line. Empty mappings and sequences are written as in JSON, and so are numbers.
fn flat(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        other => other.to_string(),
    }
}

/// Words that some readers of YAML take for something else than a text.
const RESERVED: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text as it is where every reader of YAML takes it for one; else in quotes, as in JSON.
fn text(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let begins = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    if begins && value.chars().all(plain) && !RESERVED.contains(&value.to_ascii_lowercase().as_str()) {
        return value.to_owned();
    }
    let mut quoted = String::new();
    for c in Value::from(value).to_string().chars() {
        match c {
            // Characters that end a line or cannot be seen; JSON takes them as they are.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_in_quotes_unless_it_is_plainly_one() {
        for (value, expected) in [
            ("lab-quick", "lab-quick"),
            ("batch.kubernetes.io/job-name", "batch.kubernetes.io/job-name"),
            ("/dev/shm", "/dev/shm"),
            ("RuntimeDefault", "RuntimeDefault"),
            ("", r#""""#),
            ("yes", r#""yes""#),
            ("No", r#""No""#),
            ("NULL", r#""NULL""#),
            ("~", r#""~""#),
            ("1", r#""1""#),
            ("1e3", r#""1e3""#),
            (".inf", r#"".inf""#),
            ("0x1f", r#""0x1f""#),
            ("-", r#""-""#),
            ("--plan", r#""--plan""#),
            ("---", r#""---""#),
            ("a: b", r#""a: b""#),
            ("a:", r#""a:""#),
            ("# x", r##""# x""##),
            ("a #x", r#""a #x""#),
            (" a ", r#"" a ""#),
            ("*a", r#""*a""#),
            ("{a}", r#""{a}""#),
            ("'a'", r#""'a'""#),
            ("say \"a\"", r#""say \"a\"""#),
            ("a\\b", r#""a\\b""#),
            ("a\nb\n", r#""a\nb\n""#),
            ("a\tb\0", r#""a\tb\u0000""#),
            ("größer", r#""größer""#),
            ("😀", r#""😀""#),
            ("a\u{85}b\u{2028}c\u{feff}", r#""a\u0085b\u2028c\ufeff""#),
        ] {
            assert_eq!(text(value), expected, "{value:?}");
            // Whatever is in quotes is JSON, which is YAML.
            if expected.starts_with('"') {
                assert_eq!(serde_json::from_str::<String>(expected).expect("JSON"), value);
            }
        }
    }

    #[test]
    fn blocks_are_indented_and_empty_ones_are_flat() {
        let object = json!({
            "a": {"b": 1, "c": {}},
            "d": ["x", "1", [], {"e": true, "f": ["y"]}, ["z", null]],
            "g: h": -2.5,
        });
        let expected = "\
---
a:
  b: 1
  c: {}
d:
  - x
  - \"1\"
  - []
  - e: true
    f:
      - \"y\"
  - - z
    - null
\"g: h\": -2.5
---
i: j
";
        assert_eq!(documents(&[object, json!({"i": "j"})]), expected);
    }
}
