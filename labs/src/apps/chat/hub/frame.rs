//! What a browser is told: a JSON object in a text frame.

use axum::extract::ws::Utf8Bytes;
use serde_json::Value;

/// A text frame: `content`, and what `kind` of message it is.
pub(super) fn frame(kind: &str, content: &Value) -> Utf8Bytes {
    let mut line = content.clone();
    line["type"] = kind.into();
    line.to_string().into()
}
