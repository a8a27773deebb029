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

        // Everything that a request must have is looked for here, before anything is done for it:
        // what others send can be anything, and must not end this program.
        let request = Fields::parse(&text).unwrap_or_default();
        let (id, address) = (request.text("id"), request.text("reply_to"));
        if id.is_empty() || address.is_empty() {
            course.info(&format!("skipped, it is not a request: {text:.100}"));
            continue;
        }
        let body: String = request.text("body").chars().rev().collect();
        let reply = object(&[("id", &id), ("body", &body)]);

        // Both or neither: if this program died between the two, the reply to a requester that is
        // gone would stay for ever. `atomic` wraps them in MULTI and EXEC.
        let mut transaction = redis::pipe();
        transaction.atomic().cmd("RPUSH").arg(address).arg(reply).cmd("EXPIRE").arg(address).arg(60);
        transaction.exec(&mut redis)?;
    }
    course.bye();
    Ok(())
}
