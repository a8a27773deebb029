//! Subscribes to a Redis channel, reports what it hears, and subscribes again after a lost connection.

use std::time::{Duration, Instant};

use course::Course;
use redis::{Client, Connection, RedisResult};

const WAIT: Duration = Duration::from_millis(200);

/// Connects and subscribes. Tries for 10 s.
fn subscribe(course: &Course, client: &Client, channel: &str) -> RedisResult<Connection> {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        match try_to_subscribe(client, channel) {
            Err(_) if Instant::now() < give_up && !course.wait_for_stop(WAIT / 4) => {}
            result => return result,
        }
    }
}

fn try_to_subscribe(client: &Client, channel: &str) -> RedisResult<Connection> {
    let patience = Duration::from_secs(5);
    let mut connection = client.get_connection_with_timeout(patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.send_packed_command(&redis::cmd("SUBSCRIBE").arg(channel).get_packed_command())?;
    // Redis keeps nothing for those who come later. Only its confirmation tells us that from now on
    // it sends us what is published.
    connection.recv_response()?;
    Ok(connection)
}

/// Reports messages until the stop, or until the connection is lost.
fn listen(course: &Course, connection: &mut Connection) -> RedisResult<()> {
    let mut subscription = connection.as_pubsub();
    subscription.set_read_timeout(Some(WAIT))?;
    while !course.stopped() {
        match subscription.get_message() {
            Ok(message) => course.recv(&[("body", &message.get_payload::<String>()?)]),
            Err(error) if error.is_timeout() => {} // nothing came; were we told to stop?
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn main() -> RedisResult<()> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let channel = format!("{}:news", course.text("name"));
    while !course.stopped() {
        let mut connection = subscribe(&course, &client, &channel)?;
        course.ready(); // each time: what was published before this may be missing
        if let Err(error) = listen(&course, &mut connection) {
            eprintln!("lost the connection: {error}");
        }
    }
    course.bye();
    Ok(())
}
