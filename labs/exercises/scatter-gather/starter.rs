//! Scatter-gather: asks all services with one message and gathers their replies.
//!
//! This version waits until every service has replied.

use std::collections::BTreeMap;
use std::error::Error;

use course::{Fields, object};

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let (name, services) = (course.text("name"), course.number("services") as usize);
    let answers = format!("{name}:answers"); // the list on which the services reply
    let endpoint = format!("redis://{}", course.text("endpoint"));
    let mut redis = redis::Client::open(endpoint)?.get_connection()?;
    course.ready();

    for op in course.ops() {
        let id = op.id.to_string();
        let message = object(&[("id", &id), ("reply_to", &answers), ("body", &op.text("body"))]);
        redis::cmd("PUBLISH").arg(format!("{name}:questions")).arg(message).exec(&mut redis)?;

        // TODO: What happens here when one of the services is down? And to which question does a
        // reply belong that comes late?
        let mut replies = BTreeMap::new();
        while replies.len() < services && !course.stopped() {
            // Waits for at most 0.2 seconds.
            let popped: Option<(String, String)> =
                redis::cmd("BLPOP").arg(&answers).arg(0.2).query(&mut redis)?;
            if let Some(reply) = popped.and_then(|(_, text)| Fields::parse(&text)) {
                replies.insert(reply.text("service").to_string(), reply.text("body").to_string());
            }
        }
        if replies.len() < services {
            break; // told to stop
        }

        let replies: Vec<_> = replies.iter().map(|(service, body)| format!("{service}={body}")).collect();
        course.ok(&op, &[("replies", &replies.join(",")), ("missing", &0)]);
    }

    course.bye();
    Ok(())
}
