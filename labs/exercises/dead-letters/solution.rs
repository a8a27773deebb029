//! A worker that gives up a task after some failed attempts, and keeps it as a dead letter.
//!
//! A task that always fails must not hold up the rest, and must not vanish either: a person can read
//! the stream of dead letters, repair the cause and send the tasks again.

use course::Course;
use std::{collections::HashMap, error::Error, time::Duration};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let name = course.text("name");
    let (stream, group, dead) = (format!("{name}:tasks"), format!("{name}:workers"), format!("{name}:dead"));
    let consumer = format!("worker-{}", course.number("index"));
    let mut redis = redis::Client::open(format!("redis://{}", course.text("endpoint")))?.get_connection()?;
    course.ready();

    let mut position = "0"; // first the entries that were pending at the start, then new ones
    while !course.stopped() {
        let mut streams: Vec<(String, Entries)> = redis::cmd("XREADGROUP")
            .arg(&["GROUP", &group, &consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", &stream, position])
            .query(&mut redis)?;
        let Some((entry, task)) = streams.pop().and_then(|(_, mut entries)| entries.pop()) else {
            position = ">";
            continue;
        };
        let body = task.get("body");
        // A transaction: after a crash the task is either pending or a dead letter, never both.
        let mut transaction = redis::pipe();
        transaction.atomic();
        if let Err((attempts, reason)) = work(&course, &entry, body) {
            let body = body.map_or("", String::as_str);
            transaction.cmd("XADD").arg(&[&dead, "*", "entry", &entry, "body", body]);
            transaction.arg("attempts").arg(attempts).arg("reason").arg(reason);
        }
        transaction.cmd("XACK").arg(&[&stream, &group, &entry]);
        transaction.exec(&mut redis)?;
    }

    course.bye();
    Ok(())
}

/// Tries some times. `Err` has the number of attempts and the last reason.
fn work(course: &Course, entry: &str, body: Option<&String>) -> Result<(), (i64, String)> {
    let Some(body) = body else {
        return Err((0, "no field body".to_string())); // more attempts would not help: there is nothing to try
    };
    let mut attempt = 1;
    while let Err(reason) = course.effect(entry, body) {
        if attempt == course.number("attempts") {
            return Err((attempt, reason));
        }
        course.wait_for_stop(Duration::from_millis(20)); // a sink that was busy may be free then
        attempt += 1;
    }
    Ok(())
}
