//! A message as somebody typed or received it: bytes, which mostly are text.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The bytes of a message. In JSON they are a string where they are UTF-8, else a list of numbers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
pub struct MessageText(Bytes);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Json {
    Text(String),
    Bytes(Vec<u8>),
}

impl MessageText {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

impl From<Json> for MessageText {
    fn from(json: Json) -> Self {
        match json {
            Json::Text(text) => Self(text.into()),
            Json::Bytes(bytes) => Self(bytes.into()),
        }
    }
}

impl From<MessageText> for Json {
    fn from(text: MessageText) -> Self {
        String::from_utf8(text.0.into()).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

impl From<&str> for MessageText {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for MessageText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&Bytes> for MessageText {
    fn from(body: &Bytes) -> Self {
        // A copy, because a body can be a small part of a large buffer.
        Self(Bytes::copy_from_slice(body))
    }
}

impl From<Vec<u8>> for MessageText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for MessageText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_the_same_bytes_back() {
        for (bytes, json) in
            [(&b"caf\xc3\xa9"[..], "\"café\""), (b"caf\xe9", "[99,97,102,233]"), (b"", "\"\"")]
        {
            let text = MessageText::from(bytes.to_vec());
            assert_eq!(serde_json::to_string(&text).expect("json"), json);
            assert_eq!(serde_json::from_str::<MessageText>(json).expect("a text"), text);
        }
    }
}
