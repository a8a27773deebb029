//! A reader of a log: it does something for each entry, and remembers how far it has read.
//!
//! This version starts at `$`, the end of the log. It misses what was appended before it started.

use std::{collections::HashMap, error::Error};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let log = format!("{}:log", course.text("name"));
    let mut redis = redis::Client::open(format!("redis://{}", course.text("endpoint")))?.get_connection()?;
    course.ready();

    // TODO: Where do you begin the first time, and where after a restart? When do you remember an
    // entry: before its effect or after it, and what does a kill between the two do in each case?
    let mut position = "$".to_string();
    while !course.stopped() {
        // XREAD returns entries after `position`; BLOCK waits 200 ms for one.
        let streams: Vec<(String, Entries)> = redis::cmd("XREAD")
            .arg(&["COUNT", "10", "BLOCK", "200", "STREAMS", &log, &position])
            .query(&mut redis)?;
        for (entry, fields) in streams.into_iter().flat_map(|(_, entries)| entries) {
            course.effect(&entry, &fields["body"])?;
            position = entry;
        }
    }

    course.bye();
    Ok(())
}
