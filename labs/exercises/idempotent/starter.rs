//! A worker that may get the same task several times, as different entries with the same id.
//!
//! This version has no memory: it does a task again for each entry.

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

    let mut position = "0"; // first the entries that were pending at the start, then new ones
    while !course.stopped() {
        let mut streams: Vec<(String, Entries)> = redis::cmd("XREADGROUP")
            .arg(&["GROUP", &group, &consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", &stream, position])
            .query(&mut redis)?;
        let Some((entry, task)) = streams.pop().and_then(|(_, mut entries)| entries.pop()) else {
            position = ">";
            continue;
        };

        // TODO: Do a task only if its id is new. Where do you remember the ids, so that a restart does
        // not forget them? How many do you keep, and which one do you drop?
        course.effect(&task["id"], &task["body"])?;
        redis::cmd("XACK").arg(&[&stream, &group, &entry]).exec(&mut redis)?;
    }

    course.bye();
    Ok(())
}
