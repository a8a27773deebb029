//! Scatter-gather: asks all services with one message and gathers the replies that come in time.

use std::collections::BTreeMap;
use std::error::Error;
use std::process;
use std::time::{Duration, Instant};

use course::{Course, Fields, Op, object};
use redis::{Connection, RedisResult};

/// Asks all services. Returns the replies that came in time, by service.
fn ask(course: &Course, redis: &mut Connection, op: &Op) -> RedisResult<BTreeMap<String, String>> {
    let deadline = Instant::now() + Duration::from_millis(op.number("timeout_ms").unsigned_abs());
    let (name, services) = (course.text("name"), course.number("services") as usize);
    let answers = format!("{name}:answers"); // the list on which the services reply
    // Never used again, also not after a restart: a late reply cannot match a later question.
    let question = format!("{}-{}", process::id(), op.id);
    let message = object(&[("id", &question), ("reply_to", &answers), ("body", &op.text("body"))]);
    redis::cmd("PUBLISH").arg(format!("{name}:questions")).arg(message).exec(redis)?;

    let mut replies = BTreeMap::new(); // by service, so that a service that replies twice counts once
    while replies.len() < services {
        // What is left of the time for all replies. A full time-out for each of them could add up.
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_millis(1) {
            break; // Redis takes 0 for "without a time-out"
        }
        let seconds = format!("{:.3}", left.as_secs_f64());
        let popped: Option<(String, String)> = redis::cmd("BLPOP").arg(&answers).arg(seconds).query(redis)?;
        let Some(reply) = popped.and_then(|(_, text)| Fields::parse(&text)) else { continue };
        // Otherwise it is a late reply to an earlier question.
        if reply.text("id") == question {
            replies.entry(reply.text("service").into()).or_insert(reply.text("body").into());
        }
    }
    Ok(replies)
}

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let endpoint = format!("redis://{}", course.text("endpoint"));
    let mut redis = redis::Client::open(endpoint)?.get_connection()?;
    course.ready();

    for op in course.ops() {
        let replies = ask(&course, &mut redis, &op)?;
        // Some replies are better than none, if the answer says how many are missing.
        let missing = course.number("services") - replies.len() as i64;
        let replies: Vec<_> = replies.iter().map(|(service, body)| format!("{service}={body}")).collect();
        course.ok(&op, &[("replies", &replies.join(",")), ("missing", &missing)]);
    }

    course.bye();
    Ok(())
}
