//! The entries of a Redis stream, as they stand in an answer, and the names and
//! knobs that all labs over streams share.

use bytes::Bytes;
use redis::Value;

use crate::lab::{Knob, Place};

pub(crate) const BATCH: Knob = Knob::new("batch", 256, "Entries in one pipeline.");

/// The stream of a place.
pub(crate) fn stream(place: &Place) -> String {
    format!("{}:stream", place.name())
}

/// One entry of a stream: its identifier, and fields with their values.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    fields: Vec<Value>,
}

impl Entry {
    /// Takes the value of a field. `None` if there is no such field, or it was taken before.
    pub(crate) fn take(&mut self, field: &str) -> Option<Bytes> {
        let is_it = |name: &Value| matches!(name, Value::BulkString(name) if name == field.as_bytes());
        let at = self.fields.chunks_exact(2).position(|pair| is_it(&pair[0]))?;
        match std::mem::replace(&mut self.fields[2 * at + 1], Value::Nil) {
            Value::BulkString(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The entries of an answer, `[[ID, [FIELD, VALUE, …]], …]`. The crate's own type is not
    /// used: it makes a map of every entry.
    pub(crate) fn list(answer: Value) -> Vec<Self> {
        let Value::Array(entries) = answer else { return Vec::new() };
        entries.into_iter().filter_map(Self::one).collect()
    }

    /// The entries of a read of one stream, `[[STREAM, entries]]`.
    pub(crate) fn list_of_one_stream(answer: Value) -> Vec<Self> {
        let Value::Array(mut streams) = answer else { return Vec::new() };
        let Some(Value::Array(mut stream)) = streams.pop() else { return Vec::new() };
        stream.pop().map(Self::list).unwrap_or_default()
    }

    /// The answer to `XAUTOCLAIM`, `[NEXT, entries]`: where to go on, `0-0` after the last, and
    /// the entries. From Redis 7 on, a third element lists entries that were deleted meanwhile;
    /// they are no longer pending.
    pub(crate) fn claimed(answer: Value) -> (String, Vec<Self>) {
        let Value::Array(parts) = answer else { return ("0-0".to_owned(), Vec::new()) };
        let mut parts = parts.into_iter();
        let next = match parts.next() {
            Some(Value::BulkString(next)) => String::from_utf8_lossy(&next).into_owned(),
            _ => "0-0".to_owned(),
        };
        (next, parts.next().map(Self::list).unwrap_or_default())
    }

    fn one(entry: Value) -> Option<Self> {
        let Value::Array(parts) = entry else { return None };
        let mut parts = parts.into_iter();
        let (Some(Value::BulkString(id)), fields) = (parts.next(), parts.next()) else { return None };
        // What was deleted while it was pending has an identifier and no fields.
        let fields = if let Some(Value::Array(fields)) = fields { fields } else { Vec::new() };
        Some(Self { id: String::from_utf8(id).ok()?, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_xautoclaim_of_old_and_new_servers_are_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str| Value::Array(vec![text(id), Value::Array(vec![text("body"), text("x")])]);
        let entries = || Value::Array(vec![entry("1-0"), entry("2-0")]);
        for (answer, next, ids) in [
            (vec![text("0-0"), entries()], "0-0", vec!["1-0", "2-0"]),
            (vec![text("3-0"), entries(), Value::Array(vec![text("9-0")])], "3-0", vec!["1-0", "2-0"]),
            (vec![text("0-0"), Value::Array(Vec::new()), Value::Array(Vec::new())], "0-0", Vec::new()),
            (vec![text("0-0"), Value::Array(vec![Value::Nil, entry("1-0")])], "0-0", vec!["1-0"]),
            (Vec::new(), "0-0", Vec::new()),
        ] {
            let (found, claimed) = Entry::claimed(Value::Array(answer));
            let found_ids: Vec<&str> = claimed.iter().map(|entry| entry.id.as_str()).collect();
            assert_eq!((found.as_str(), found_ids), (next, ids));
        }
        assert_eq!(Entry::claimed(Value::Nil).0, "0-0");
    }

    /// Answers as Redis writes them: what the crate reads of them, and what is made of that.
    #[test]
    fn fuzz_stream_entries() {
        use redis::FromRedisValue as _;
        let entries = "*2\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$4\r\nbody\r\n$2\r\nhi\r\n*2\r\n$3\r\n2-1\r\n*-1\r\n";
        let seeds = [
            format!("*1\r\n*2\r\n$1\r\ns\r\n{entries}"),
            format!("*3\r\n$3\r\n0-0\r\n{entries}*0\r\n"),
            "*1\r\n*4\r\n$3\r\n1-1\r\n$10\r\nconsumer-1\r\n:17\r\n:2\r\n".to_owned(),
        ];
        fuzz::Target::new("stream_entries").seeds(seeds).memory(8 << 20).run(|input| {
            // The crate's parser reserves room for as many elements as are announced, on each of a
            // hundred levels, whatever comes: what is tried here is what we make of its values.
            if input.split(|byte| !byte.is_ascii_digit()).any(|number| number.len() > 3) {
                return false;
            }
            let Ok(answer) = redis::parse_redis_value(input) else { return false };
            let mut entries = Entry::claimed(answer.clone()).1;
            entries.extend(Entry::list_of_one_stream(answer.clone()));
            for entry in &mut entries {
                let body = entry.take("body");
                assert!(body.is_none() || entry.take("body").is_none_or(|_| entry.fields.len() > 2));
            }
            let _ = redis::streams::StreamPendingCountReply::from_redis_value(answer);
            true
        });
    }
}
