//! How control lines are written and read. The programs of the exercises need only what `lib.rs` offers.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::json::{Fields, Value, object};

/// Something to do: `op.text("do")`, `op.text("body")`, `op.number("timeout_ms")`.
#[derive(Clone, Debug)]
pub struct Op {
    /// The number that the answer repeats.
    pub id: i64,
    fields: Fields,
}

impl Op {
    pub(crate) fn new(fields: Fields) -> Self {
        Self { id: fields.number("id"), fields }
    }
}

impl Deref for Op {
    type Target = Fields;
    fn deref(&self) -> &Fields {
        &self.fields
    }
}

/// The connection to the sink, which is made when it is first needed.
#[derive(Default)]
pub(crate) struct Sink(Mutex<Option<BufReader<TcpStream>>>);

impl Sink {
    pub(crate) fn effect(&self, endpoint: &str, key: &str, body: &str) -> Result<Fields, String> {
        let line = object(&[("type", &"effect"), ("key", &key), ("body", &body)]);
        let answer = self.ask(endpoint, &line).map_err(|error| error.to_string())?;
        let answer = Fields::parse(&answer).ok_or("the sink is gone")?;
        if answer.text("type") == "ok" { Ok(answer) } else { Err(answer.text("reason").into()) }
    }

    /// Sends a line and waits for the answer; one at a time.
    fn ask(&self, endpoint: &str, line: &str) -> io::Result<String> {
        let mut connection = lock(&self.0);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(BufReader::new(TcpStream::connect(endpoint)?)),
        };
        connection.get_mut().write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        connection.read_line(&mut answer)?;
        Ok(answer)
    }
}

/// Whether the program was told to stop.
#[derive(Default)]
pub(crate) struct Stopped(Mutex<bool>, Condvar);

impl Stopped {
    pub(crate) fn set(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    pub(crate) fn wait(&self, longest: Duration) -> bool {
        let waited = self.1.wait_timeout_while(lock(&self.0), longest, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The next control line; `None` when the checker is gone.
pub(crate) fn hear() -> Option<Fields> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(length) if length > 0 => Some(Fields::parse(&line).unwrap_or_default()),
        _ => None,
    }
}

/// Writes a control line. It is lost when the checker is gone, and then it does not matter.
pub(crate) fn say(kind: &str, fields: &[(&str, &dyn Value)]) {
    let line = object(&[&[("type", &kind as &dyn Value)], fields].concat());
    let _ = writeln!(io::stdout().lock(), "{line}");
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
