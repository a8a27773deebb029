//! A worker that does each id once, although it may get the id several times.
//!
//! The ids of the last tasks are in a Redis list, newest first. It survives a restart, and LTRIM
//! keeps it short.

use std::{collections::HashMap, error::Error};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let name = course.text("name");
    let (stream, group, seen) = (format!("{name}:tasks"), format!("{name}:workers"), format!("{name}:seen"));
    let consumer = format!("worker-{}", course.number("index"));
    let oldest = course.number("remember") - 1;
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
        let id = &task["id"];
        let known: Option<i64> = redis::cmd("LPOS").arg(&[&seen, id]).query(&mut redis)?;
        if known.is_some() {
            // A duplicate is done already: acknowledge it, too.
            redis::cmd("XACK").arg(&[&stream, &group, &entry]).exec(&mut redis)?;
            continue;
        }
        course.effect(id, &task["body"])?;
        // A transaction: no crash can leave an id that is remembered but pending, or the reverse.
        // A crash before it repeats the effect; remembering before the effect could lose it instead.
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.cmd("LPUSH").arg(&[&seen, id]);
        transaction.cmd("LTRIM").arg(&seen).arg(0).arg(oldest); // drops the oldest
        transaction.cmd("XACK").arg(&[&stream, &group, &entry]);
        transaction.exec(&mut redis)?;
    }

    course.bye();
    Ok(())
}
