//! A worker that acknowledges a task when it is done, and first repeats what it had in hand.
//!
//! Redis keeps a list of pending entries for each consumer: taken, not acknowledged. A program that
//! was killed finds its task there when it is started again under the same name.

use std::{collections::HashMap, error::Error};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let name = course.text("name");
    let (stream, group) = (format!("{name}:tasks"), format!("{name}:workers"));
    let consumer = format!("worker-{}", course.number("index"));
    let mut redis = redis::Client::open(format!("redis://{}", course.text("endpoint")))?.get_connection()?;
    course.ready();

    let mut position = "0"; // an id instead of `>`: this consumer's own pending entries
    while !course.stopped() {
        // One entry at a time: a second one would wait here while another worker may be idle.
        let mut streams: Vec<(String, Entries)> = redis::cmd("XREADGROUP")
            .arg(&["GROUP", &group, &consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", &stream, position])
            .query(&mut redis)?;
        let Some((entry, task)) = streams.pop().and_then(|(_, mut entries)| entries.pop()) else {
            position = ">"; // nothing is pending any more: from now on new entries
            continue;
        };
        course.effect(&entry, &task["body"])?;
        // Only now: until here a kill leaves the entry pending.
        redis::cmd("XACK").arg(&[&stream, &group, &entry]).exec(&mut redis)?;
    }

    course.bye();
    Ok(())
}
