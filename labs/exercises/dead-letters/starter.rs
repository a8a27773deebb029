//! A worker whose work can fail: the sink refuses some tasks.
//!
//! This version tries again for ever. All tasks behind one that always fails wait for ever, too.
//! An entry that is not a task at all goes to the dead letters already.

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
        if let Some(body) = task.get("body") {
            // TODO: How often do you try? What happens to the task after that, and to its entry in
            // NAME:tasks? `Err` has the sink's reason.
            while let Err(reason) = course.effect(&entry, body) {
                eprintln!("{entry} failed: {reason}");
                if course.wait_for_stop(Duration::from_millis(20)) {
                    course.bye();
                    return Ok(());
                }
            }
        } else {
            redis::cmd("XADD")
                .arg(&[&dead, "*", "entry", &entry, "body", "", "attempts", "0", "reason", "no field body"])
                .exec(&mut redis)?;
        }
        redis::cmd("XACK").arg(&[&stream, &group, &entry]).exec(&mut redis)?;
    }

    course.bye();
    Ok(())
}
