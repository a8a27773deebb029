//! A worker of a consumer group: it takes tasks from a stream, does them and acknowledges them.
//!
//! This version acknowledges a task before it does the task. A task that it has acknowledged and not
//! done is lost when the program is killed.

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

    while !course.stopped() {
        // `>` asks for entries that no worker of the group has taken yet. BLOCK waits 200 ms for one.
        let mut streams: Vec<(String, Entries)> = redis::cmd("XREADGROUP")
            .arg(&["GROUP", &group, &consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", &stream, ">"])
            .query(&mut redis)?;
        let Some((entry, task)) = streams.pop().and_then(|(_, mut entries)| entries.pop()) else {
            continue;
        };

        // TODO: What does Redis know of this task if the program is killed between these two lines, or
        // within the second? And after a restart: who asks for the task that was in hand then?
        redis::cmd("XACK").arg(&[&stream, &group, &entry]).exec(&mut redis)?;
        course.effect(&entry, &task["body"])?;
    }

    course.bye();
    Ok(())
}
