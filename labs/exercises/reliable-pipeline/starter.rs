//! A reliable pipeline: no task is lost, whatever happens to a worker or to its connection.
//!
//! This version connects again, but it acknowledges a task when it takes it.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use course::{Course, object};
use redis::{Client, Connection, FromRedisValue, RedisResult};

/// The entries of a stream: each has an id and fields.
type Entries = Vec<(String, HashMap<String, String>)>;

/// A connection to Redis that is made again when it is lost.
struct Link {
    course: Course,
    client: Client,
    connection: Option<Connection>,
}

impl Link {
    /// Sends a command. When the connection is lost: connects and sends it again.
    fn call<T: FromRedisValue>(&mut self, words: &[&str]) -> RedisResult<T> {
        loop {
            match self.try_once(words) {
                Err(error) if error.is_io_error() => {
                    eprintln!("connecting again: {error}");
                    self.connection = None;
                    if self.course.wait_for_stop(Duration::from_millis(50)) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    fn try_once<T: FromRedisValue>(&mut self, words: &[&str]) -> RedisResult<T> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let patience = Duration::from_secs(5);
                let connection = self.client.get_connection_with_timeout(patience)?;
                connection.set_read_timeout(Some(patience))?;
                none.insert(connection)
            }
        };
        redis::cmd(words[0]).arg(&words[1..]).query(connection)
    }
}

fn work(course: &Course) -> Result<(), Box<dyn Error>> {
    let name = course.text("name");
    let (stream, group) = (&*format!("{name}:tasks"), &*format!("{name}:workers"));
    let (results, consumer) = (format!("{name}:results"), &*format!("worker-{}", course.number("index")));
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut redis = Link { course: course.clone(), client, connection: None };
    redis.call::<()>(&["PING"])?;
    course.ready();

    let read = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", stream, ">"];
    while !course.stopped() {
        let mut streams: Vec<(String, Entries)> = redis.call(&read)?;
        let Some((entry, task)) = streams.pop().and_then(|(_, mut entries)| entries.pop()) else {
            continue; // no task at the moment
        };

        // TODO: Go through the following commands. What is lost when the worker is killed after the
        // first, after the second? Who does the task of a worker that does not come back?
        redis.call::<()>(&["XACK", stream, group, &entry])?;
        let answer = course.effect(&entry, &task["body"])?;
        let result = object(&[("task", &entry), ("value", &answer.text("value"))]);
        redis.call::<()>(&["RPUSH", &results, &result])?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    match work(&course) {
        Err(error) if !course.stopped() => return Err(error),
        _ => course.bye(),
    }
    Ok(())
}
