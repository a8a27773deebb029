//! A reader of a log that continues where it was, also after a kill.
//!
//! A log keeps its entries, and does not know its readers. So the reader has to remember its
//! position. It does so after each effect: an effect that was not answered is repeated, and none is
//! left out.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::{collections::HashMap, error::Error, path::Path};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let log = format!("{}:log", course.text("name"));
    let path = Path::new(course.text("state")).join("position");
    let mut redis = redis::Client::open(format!("redis://{}", course.text("endpoint")))?.get_connection()?;
    course.ready();

    let mut position = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => "0".to_string(), // first time: from the beginning
        read => read?,
    };
    while !course.stopped() {
        // XREAD returns entries after `position`, so what is done does not come again.
        let streams: Vec<(String, Entries)> = redis::cmd("XREAD")
            .arg(&["COUNT", "10", "BLOCK", "200", "STREAMS", &log, &position])
            .query(&mut redis)?;
        for (entry, fields) in streams.into_iter().flat_map(|(_, entries)| entries) {
            course.effect(&entry, &fields["body"])?;
            remember(&path, &entry)?; // not before the effect: a kill between the two would leave a gap
            position = entry;
            if course.stopped() {
                break; // the rest of these entries is read again after the next start
            }
        }
    }

    course.bye();
    Ok(())
}

/// Replaces the file in one step: a reader finds the old position or the new one, never half a one.
fn remember(path: &Path, position: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(position.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}
