//! Joins and leaves rooms: a filter chooses which topics are heard. Channels are NAME:TOPIC.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use course::Course;
use redis::{PubSub, RedisResult};

/// The filters that are joined. Locked while a message is reported, so that none is after a leave.
type Joined = Mutex<HashSet<String>>;

/// `*` is one level; `#`, which is the last level, is any number of levels, also none.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut wanted, mut levels) = (filter.split('.'), topic.split('.'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(name), Some(level)) if name == "*" || name == level => {}
            _ => return false,
        }
    }
}

fn join_and_leave(course: &Course, joined: &Joined) {
    for op in course.ops() {
        let filter = op.text("filter");
        let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
        match op.text("do") {
            "join" => joined.insert(filter.into()),
            _ => joined.remove(filter),
        };
        drop(joined);
        course.ok(&op, &[]);
    }
}

fn listen(course: &Course, joined: &Joined, mut subscription: PubSub, prefix: &str) -> RedisResult<()> {
    subscription.set_read_timeout(Some(Duration::from_millis(200)))?; // so that a stop is noticed
    while !course.stopped() {
        let message = match subscription.get_message() {
            Ok(message) => message,
            Err(error) if error.is_timeout() => continue,
            Err(error) => return Err(error),
        };
        let topic = message.get_channel_name().strip_prefix(prefix).unwrap_or_default();
        let joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
        if joined.iter().any(|filter| matches(filter, topic)) {
            course.recv(&[("topic", &topic), ("body", &message.get_payload::<String>()?)]);
        }
    }
    Ok(())
}

fn main() -> RedisResult<()> {
    let course = course::start();
    let prefix = format!("{}:", course.text("name"));
    let client = redis::Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut connection = client.get_connection()?;

    // One pattern for all topics, and the exact choice is made here: so each message comes once,
    // whatever the filters are, and no letter in a filter means something to Redis. The price is
    // that all messages cross the network. A pattern for each filter would save that, but brings a
    // copy for each pattern.
    let mut subscription = connection.as_pubsub();
    subscription.psubscribe(format!("{prefix}*"))?; // returns when Redis has confirmed it
    course.ready();

    let joined = Joined::default();
    thread::scope(|scope| {
        scope.spawn(|| join_and_leave(&course, &joined));
        listen(&course, &joined, subscription, &prefix)
    })?;
    course.bye();
    Ok(())
}
