//! Flat JSON objects: fields with text, numbers and truth values, and no lists or objects in them.

use std::collections::HashMap;

/// What a field can hold: text, a whole number or a truth value.
pub trait Value {
    /// The value as JSON.
    fn json(&self) -> String;
}

macro_rules! values {
    ($json:path: $($kind:ty)*) => { $(impl Value for $kind { fn json(&self) -> String { $json(self) } })* };
}
values!(quoted: &str String);
values!(ToString::to_string: i32 i64 u32 u64 u128 usize bool);

/// A JSON object on one line: `object(&[("id", &id), ("body", &body)])`.
pub fn object(fields: &[(&str, &dyn Value)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| quoted(name) + ":" + &value.json()).collect();
    format!("{{{}}}", fields.join(","))
}

/// The fields of a JSON object. Numbers, `true` and `false` are kept as they are written.
#[derive(Clone, Debug, Default)]
pub struct Fields(HashMap<String, String>);

impl Fields {
    /// Reads a flat JSON object. `None`: the text is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = HashMap::new();
        let mut rest = text.trim().strip_prefix('{')?.trim_start();
        while rest != "}" {
            let (name, after) = unquoted(rest)?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            let (value, after) = if value.starts_with('"') { unquoted(value)? } else { plain(value)? };
            if value != "null" {
                fields.insert(name, value);
            }
            rest = after.trim_start();
            if rest != "}" {
                rest = rest.strip_prefix(',')?.trim_start();
            }
        }
        Some(Self(fields))
    }

    /// The text of a field; empty when there is no such field, or when it is `null`.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The whole number in a field; 0 when there is none.
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        '\0'..' ' => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The string that a text begins with, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut units = Vec::new(); // of UTF-16: \u escapes write what is beyond \uffff as two of them
    loop {
        let c = match chars.next()? {
            '"' => return Some((String::from_utf16_lossy(&units), chars.as_str())),
            '\\' => match chars.next()? {
                'u' => {
                    let (digits, after) = chars.as_str().split_at_checked(4)?;
                    units.push(u16::from_str_radix(digits, 16).ok()?);
                    chars = after.chars();
                    continue;
                }
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                c @ ('"' | '\\' | '/') => c,
                _ => return None,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
}

/// The number or word that a text begins with, and what follows it.
fn plain(text: &str) -> Option<(String, &str)> {
    let (word, after) = text.split_at(text.find([',', '}', ' '])?);
    let known = matches!(word, "true" | "false" | "null") || word.parse::<f64>().is_ok();
    known.then(|| (word.to_string(), after))
}
