//! The control lines of an exercise: one JSON object a line, on stdin and stdout.
//!
//! Nothing here touches the messages themselves: those are yours to send and receive.
//! Print nothing else to stdout; `eprintln!` is for the log.
#![warn(missing_docs)]

mod control;
mod json;

use std::sync::{Arc, Mutex, mpsc};
use std::{iter, ops::Deref, thread, time::Duration};

pub use control::Op;
use control::{Sink, Stopped, hear, lock, say};
pub use json::{Fields, Value, object};

/// The checker that started the program. Its settings: `course.text("name")`, `course.number("workers")`.
#[derive(Clone)]
pub struct Course(Arc<Shared>);

struct Shared {
    init: Fields,
    ops: Mutex<mpsc::Receiver<Op>>,
    stopped: Stopped,
    sink: Sink,
}

/// Waits for the `init` line.
pub fn start() -> Course {
    let (sender, ops) = mpsc::channel();
    let (init, ops) = (hear().unwrap_or_default(), Mutex::new(ops));
    let shared = Arc::new(Shared { init, ops, stopped: Stopped::default(), sink: Sink::default() });
    let course = Course(shared.clone());
    thread::spawn(move || {
        while let Some(line) = hear().filter(|line| line.text("type") != "stop") {
            let _ = sender.send(Op::new(line));
        }
        shared.stopped.set();
    });
    course
}

impl Course {
    /// Says that the program is ready; each exercise says when it is.
    pub fn ready(&self) {
        say("ready", &[]);
    }

    /// Says that a message came: `course.recv(&[("body", &body)])`.
    pub fn recv(&self, fields: &[(&str, &dyn Value)]) {
        say("recv", fields);
    }

    /// Says that an op is done: `course.ok(&op, &[("body", &body)])`.
    pub fn ok(&self, op: &Op, fields: &[(&str, &dyn Value)]) {
        say("ok", &[&[("id", &op.id as &dyn Value)], fields].concat());
    }

    /// Says that an op failed.
    pub fn fail(&self, op: &Op, reason: &str) {
        say("fail", &[("id", &op.id), ("reason", &reason)]);
    }

    /// Says something that the checker shows to you.
    pub fn info(&self, text: &str) {
        say("info", &[("text", &text)]);
    }

    /// Says that the program is about to exit.
    pub fn bye(&self) {
        say("bye", &[]);
    }

    /// What the program is told to do, one after the other, until it is told to stop.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        iter::from_fn(|| lock(&self.0.ops).recv().ok())
    }

    /// Whether the program was told to stop.
    pub fn stopped(&self) -> bool {
        self.0.stopped.wait(Duration::ZERO)
    }

    /// Waits until the program is told to stop, but not longer than this. Returns whether it was told.
    pub fn wait_for_stop(&self, longest: Duration) -> bool {
        self.0.stopped.wait(longest)
    }

    /// Does the work: tells the sink, and waits for its answer. `Err`: the reason why the sink refused.
    pub fn effect(&self, key: &str, body: &str) -> Result<Fields, String> {
        self.0.sink.effect(self.text("sink"), key, body)
    }
}

impl Deref for Course {
    type Target = Fields;
    fn deref(&self) -> &Fields {
        &self.0.init
    }
}
