//! Answers requests from a Redis list; several instances of this program share the list.

use course::{Fields, object};
use redis::cmd;

fn main() -> redis::RedisResult<()> {
    let course = course::start();
    let requests = format!("{}:requests", course.text("name"));
    let client = redis::Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut redis = client.get_connection()?;
    course.ready();

    while !course.stopped() {
        // A short wait, so that a stop is noticed.
        let taken: Option<(String, String)> = cmd("BLPOP").arg(&requests).arg(0.2).query(&mut redis)?;
        let Some((_, text)) = taken else { continue };
        let request = Fields::parse(&text).unwrap_or_default();
        let id = request.text("id");
        if id.is_empty() {
            course.info(&format!("skipped, it is not a request: {text:.100}"));
            continue;
        }
        let body: String = request.text("body").chars().rev().collect();
        let reply = object(&[("id", &id), ("body", &body)]);

        // TODO: there are several requesters. Who reads this list, and whose reply is it? Work here.
        let address = format!("{}:replies", course.text("name"));
        cmd("RPUSH").arg(&address).arg(reply).exec(&mut redis)?;
        cmd("EXPIRE").arg(&address).arg(60).exec(&mut redis)?;
    }
    course.bye();
    Ok(())
}
