//! The one record of a check: what happened, when, as the checker saw it.
//!
//! Nothing in it is a program's word about its own work, but for what it says on its control
//! lines, and that is recorded as something that was said. All times are the checker's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

/// The fields of a control line, without its type.
pub(crate) type Fields = Map<String, Value>;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Time since the run began.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A phase of the run began: barrier, load, faults, heal, drain, check.
    Phase(&'static str),
    /// The checker did something to a program or to the link.
    Did(String),
    /// A control line to a program.
    Told { program: usize, kind: &'static str, fields: Fields },
    /// A control line from a program.
    Said { program: usize, kind: String, fields: Fields },
    /// A program asked for an effect; `number` counts the effects of the run.
    Effect { program: usize, number: usize, key: String, body: String },
    /// The sink answered an effect, and the answer went out.
    Answered { program: usize, number: usize, accepted: bool },
    /// A command that Redis was given, in Redis's own order; `own` by the checker.
    Command { words: Vec<String>, own: bool },
    /// A frame over TCP; `own` by the checker.
    Frame { connection: usize, own: bool, body: String },
    /// A program has connected to the checker's own listener.
    Opened,
    /// Such a connection has ended.
    Closed,
    /// A program has ended.
    Left { program: usize, how: String },
}

/// All that happened so far, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(pub(crate) Vec<Event>);

impl History {
    /// What the programs said of this kind, with the time: `(at, program, fields)`.
    pub(crate) fn said<'a>(
        &'a self,
        kind: &'a str,
    ) -> impl DoubleEndedIterator<Item = (Duration, usize, &'a Fields)> {
        self.0.iter().filter_map(move |event| match &event.what {
            What::Said { program, kind: said, fields } if said == kind => Some((event.at, *program, fields)),
            _ => None,
        })
    }

    /// The texts of a field of what the programs said of this kind, in order.
    pub(crate) fn texts<'a>(&'a self, kind: &'a str, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.said(kind).map(move |(_, _, fields)| text(fields, field))
    }

    /// The answer to an operation, if there is one: the kind (`ok` or `fail`), its time and fields.
    pub(crate) fn answer(&self, op: u64) -> Option<(Duration, &str, &Fields)> {
        self.0.iter().find_map(|event| match &event.what {
            What::Said { kind, fields, .. } if matches!(kind.as_str(), "ok" | "fail") => (fields
                .get("id")
                .and_then(Value::as_u64)
                == Some(op))
            .then_some((event.at, kind.as_str(), fields)),
            _ => None,
        })
    }

    /// The effects that were asked for, in order.
    pub(crate) fn effects(&self) -> impl Iterator<Item = EffectSeen<'_>> {
        self.0.iter().filter_map(|event| match &event.what {
            What::Effect { program, number, key, body } => {
                Some(EffectSeen { at: event.at, program: *program, number: *number, key, body })
            }
            _ => None,
        })
    }

    /// The position in the record of the answer to an effect; positions compare with those of commands.
    pub(crate) fn answer_position(&self, number: usize) -> Option<usize> {
        self.0.iter().position(
            |event| matches!(event.what, What::Answered { number: answered, .. } if answered == number),
        )
    }

    /// The effects that were accepted, and whose answer went out.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = EffectSeen<'_>> {
        // Once for all effects: the record may be long.
        let accepted: BTreeSet<usize> = self
            .0
            .iter()
            .filter_map(|event| match event.what {
                What::Answered { number, accepted: true, .. } => Some(number),
                _ => None,
            })
            .collect();
        self.effects().filter(move |effect| accepted.contains(&effect.number))
    }

    /// The commands that the programs gave to Redis, in Redis's order: `(position, at, words)`. The
    /// name of the command is in capitals. Positions compare with those of [`Self::commands`] and of
    /// events.
    pub(crate) fn program_commands(&self) -> impl Iterator<Item = (usize, Duration, &[String])> {
        self.commands(false)
    }

    /// The same of the checker's own.
    pub(crate) fn own_commands(&self) -> impl Iterator<Item = (usize, Duration, &[String])> {
        self.commands(true)
    }

    fn commands(&self, wanted: bool) -> impl Iterator<Item = (usize, Duration, &[String])> {
        self.0.iter().enumerate().filter_map(move |(position, event)| match &event.what {
            What::Command { words, own } if *own == wanted => Some((position, event.at, words.as_slice())),
            _ => None,
        })
    }

    /// The frames over TCP: those of the programs, or the checker's own: `(at, connection, body)`.
    pub(crate) fn frames(&self, wanted: bool) -> impl Iterator<Item = (Duration, usize, &str)> {
        self.0.iter().filter_map(move |event| match &event.what {
            What::Frame { connection, own, body } if *own == wanted => {
                Some((event.at, *connection, body.as_str()))
            }
            _ => None,
        })
    }

    /// When a program ended, the last time.
    pub(crate) fn left(&self, which: usize) -> Option<Duration> {
        self.0.iter().rev().find_map(|event| match &event.what {
            What::Left { program, .. } if *program == which => Some(event.at),
            _ => None,
        })
    }

    /// When a program last said or did something before it was told to stop.
    pub(crate) fn last_act(&self) -> Option<Duration> {
        let told = self.0.iter().position(|event| matches!(event.what, What::Told { kind: "stop", .. }));
        let before = &self.0[..told.unwrap_or(self.0.len())];
        before.iter().rev().find_map(|event| match &event.what {
            What::Said { .. } | What::Effect { .. } | What::Answered { .. } | What::Frame { .. } => {
                Some(event.at)
            }
            What::Command { own: false, words }
                if words.iter().any(|word| word == "XACK" || word == "RPUSH") =>
            {
                Some(event.at)
            }
            _ => None,
        })
    }

    /// When a phase began.
    pub(crate) fn phase(&self, name: &str) -> Option<Duration> {
        self.0.iter().find_map(|event| match event.what {
            What::Phase(phase) if phase == name => Some(event.at),
            _ => None,
        })
    }
}

/// An effect that a program asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EffectSeen<'a> {
    pub(crate) at: Duration,
    pub(crate) program: usize,
    pub(crate) number: usize,
    pub(crate) key: &'a str,
    pub(crate) body: &'a str,
}

/// A field as text; empty when it is missing.
pub(crate) fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A field as a whole number. Numbers in quotes count, too.
pub(crate) fn number(fields: &Fields, name: &str) -> Option<i64> {
    match fields.get(name)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_i64().or_else(|| value.as_f64().map(|number| number.round() as i64)),
    }
}

/// A time for readers, in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
