//! How JSON stands in the files of a result set: indented for people, and still small.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Levels that are indented: in `run.json`, down to the fields of a case. A trial is one line.
const LEVELS: usize = 4;
const INDENT: &[u8] = b"  ";

/// `value`, with a line feed at the end.
pub(super) fn pretty<T: Serialize>(value: &T) -> Result<String> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, Indented::default()))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

/// Indents the outer levels, and writes what is deeper on one line.
#[derive(Default)]
struct Indented {
    /// Arrays and objects that are open.
    open: usize,
    /// The one that was opened or closed last has something in it.
    filled: bool,
}

impl Indented {
    fn begin<W: Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.open += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn end<W: Write + ?Sized>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        let indents = self.filled && self.open <= LEVELS;
        self.open -= 1;
        self.filled = true;
        if indents {
            self.line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn next<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.filled = true;
        if !first {
            writer.write_all(b",")?;
        }
        if self.open <= LEVELS { self.line(writer) } else { Ok(()) }
    }

    fn line<W: Write + ?Sized>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.open).try_for_each(|_| writer.write_all(INDENT))
    }
}

impl Formatter for Indented {
    fn begin_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.open <= LEVELS { b": " } else { b":" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn outer_levels_are_indented_and_a_trial_is_one_line() {
        let run =
            json!({ "cells": [{ "trials": [{ "index": 0, "counts": { "sent": 1 } }, {}], "set": {} }] });
        let text = pretty(&run).expect("JSON");
        let expected = "{\n  \"cells\": [\n    {\n      \"set\": {},\n      \"trials\": [\n        \
                        {\"counts\":{\"sent\":1},\"index\":0},\n        {}\n      ]\n    }\n  ]\n}\n";
        assert_eq!(text, expected);
        let read: Value = serde_json::from_str(&text).expect("what was written");
        assert_eq!(read, run);
    }

    proptest::proptest! {
        /// Whatever is written is read again, whatever its depth.
        #[test]
        fn it_is_the_same_value(deep in 0_usize..12, text in ".{0,20}") {
            let value = (0..deep).fold(json!([text, null, 1.5, {}]), |inner, level| match level % 2 {
                0 => json!({ "a": inner, "b": [] }),
                _ => json!([inner, {}, []]),
            });
            let read: Value = serde_json::from_str(&pretty(&value).expect("JSON")).expect("what was written");
            proptest::prop_assert_eq!(read, value);
        }
    }
}
