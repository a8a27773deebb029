//! A reliable pipeline: no task is lost, whatever happens to a worker or to its connection.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use course::{Course, object};
use redis::{Client, Connection, FromRedisValue, RedisResult, Value};

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
    ///
    /// The first one may have been carried out. Each command of this program can bear that: a second
    /// result of a task has the same value, a second XACK has no effect, and entries whose delivery
    /// was cut off stay pending and are claimed later, like those of a dead worker.
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
    let (name, claim_ms) = (course.text("name"), course.number("claim_ms").to_string());
    let (stream, group) = (&*format!("{name}:tasks"), &*format!("{name}:workers"));
    let (results, consumer) = (format!("{name}:results"), &*format!("worker-{}", course.number("index")));
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut redis = Link { course: course.clone(), client, connection: None };
    redis.call::<()>(&["PING"])?;
    course.ready();

    let claim = ["XAUTOCLAIM", stream, group, consumer, &claim_ms, "0-0", "COUNT", "1"];
    let read = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "1", "BLOCK", "200", "STREAMS", stream, ">"];
    while !course.stopped() {
        // First what another worker has had for too long. Its time starts again, so no third worker
        // claims it now. Only one at a time: others would claim what waits here for its turn.
        let claimed: Vec<Value> = redis.call(&claim)?; // a cursor, the entries, and ids of deleted ones
        let mut entries: Entries = redis::from_redis_value_ref(&claimed[1])?;
        if entries.is_empty() {
            let streams: Vec<(String, Entries)> = redis.call(&read)?;
            entries = streams.into_iter().flat_map(|(_, entries)| entries).collect();
        }
        let Some((entry, task)) = entries.pop() else { continue };

        let answer = course.effect(&entry, &task["body"])?;
        let result = object(&[("task", &entry), ("value", &answer.text("value"))]);
        redis.call::<()>(&["RPUSH", &results, &result])?;
        // Last: as long as the task is pending, another worker can do it again.
        redis.call::<()>(&["XACK", stream, group, &entry])?;
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
