//! Values of a plan file: numbers, or texts with their units.

use anyhow::Result;
use serde::Deserialize;

/// A number, or a text with its unit, as on the command line.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl Value {
    pub(super) fn read<T>(&self, parse: impl Fn(&str) -> Result<T>) -> Result<T> {
        match self {
            Self::Whole(number) => parse(&number.to_string()),
            Self::Number(number) => parse(&number.to_string()),
            Self::Text(text) => parse(text),
        }
    }
}

/// A value, or an axis of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Values {
    One(Value),
    Many(Vec<Value>),
}

impl Values {
    pub(super) fn read<T>(&self, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
        match self {
            Self::One(Value::Text(list)) => list.split(',').map(parse).collect(),
            Self::One(one) => Ok(vec![one.read(parse)?]),
            Self::Many(many) => many.iter().map(|value| value.read(&parse)).collect(),
        }
    }
}
