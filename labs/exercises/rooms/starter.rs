//! Joins and leaves rooms: a filter chooses which topics are heard. Channels are NAME:TOPIC.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

/// The filter as a pattern of Redis. Letters with a meaning in such patterns lose it by a backslash.
fn glob(prefix: &str, filter: &str) -> String {
    let escape = |c: char| if "[]?\\^".contains(c) { format!("\\{c}") } else { c.to_string() };
    let escaped: String = filter.chars().map(escape).collect();
    prefix.to_owned() + &escaped.replace(".#", "*").replace('#', "*") // "news.#" also means "news"
}

fn main() -> redis::RedisResult<()> {
    let course = course::start();
    let prefix = format!("{}:", course.text("name"));
    let client = redis::Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut connection = client.get_connection()?;
    let mut subscription = connection.as_pubsub();

    let (sender, ops) = mpsc::channel();
    let listener = course.clone();
    thread::spawn(move || listener.ops().for_each(|op| drop(sender.send(op))));
    course.ready();

    let mut last = None;
    while !course.stopped() {
        for op in ops.try_iter() {
            let pattern = glob(&prefix, op.text("filter"));
            subscription.set_read_timeout(Some(PATIENCE))?;
            if op.text("do") == "join" {
                subscription.psubscribe(pattern)?; // returns when Redis has confirmed it
            } else {
                subscription.punsubscribe(pattern)?;
            }
            course.ok(&op, &[]);
        }
        subscription.set_read_timeout(Some(WAIT))?; // so that an op or a stop is noticed
        let message = match subscription.get_message() {
            Ok(message) => message,
            Err(error) if error.is_timeout() => continue,
            Err(error) => return Err(error),
        };
        let copy = Some((message.get_channel_name().to_string(), message.get_payload::<String>()?));
        if copy == last {
            continue; // Redis sends one copy for each pattern that matches, one behind the other
        }
        last = copy;

        // TODO: the pattern matched this topic. Does the filter match it, too? `*` of a pattern and
        // `*` of a filter do not mean the same. Work here.
        if let Some((channel, body)) = &last {
            course.recv(&[("topic", &channel[prefix.len()..].to_string()), ("body", body)]);
        }
    }
    course.bye();
    Ok(())
}
