//! A sender of orders: it confirms each order that it is told, and publishes it to a stream.
//!
//! This version keeps nothing. An order is lost when the broker is away, or when the program is
//! killed between `ok` and the XADD.

use redis::{Client, Connection, RedisResult};
use std::{error::Error, process, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let stream = format!("{}:orders", course.text("name"));
    let mut connection = None;
    course.ready();
    // TODO: `ok` is a promise: this order will be published. Where must the order be before you promise
    // that? Who publishes it, when the broker is away now? And what does the program do first when it
    // is started again, and which ids may it use then?
    for (number, op) in course.ops().enumerate() {
        course.ok(&op, &[]);
        let id = format!("{}-{number}", process::id());
        let words = [&stream, "*", "id", &id, "body", op.text("body")];
        if let Err(error) = add(&client, &mut connection, &words) {
            eprintln!("not published: {error}");
            connection = None; // the next order opens a new connection
        }
    }
    course.bye();
    Ok(())
}

fn add(client: &Client, connection: &mut Option<Connection>, words: &[&str]) -> RedisResult<()> {
    let open = match connection {
        Some(open) => open,
        none => none.insert(client.get_connection_with_timeout(Duration::from_secs(5))?),
    };
    open.set_read_timeout(Some(Duration::from_secs(5)))?;
    redis::cmd("XADD").arg(words).exec(open)
}
