//! Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(200);

fn main() -> std::io::Result<()> {
    let course = course::start();
    let mut connection = TcpStream::connect(course.text("endpoint"))?;
    connection.set_read_timeout(Some(WAIT))?; // so that a stop is noticed while nothing comes
    course.ready();

    let mut buffer = vec![0; 65536];
    while !course.stopped() {
        let data = match connection.read(&mut buffer) {
            Ok(0) => break, // the other side has closed the connection
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue, // the time-out
            Err(_) => break,
        };

        // TODO: is `data` always exactly one message? What else can one `read` return?
        // Work here: find out where a message begins and where it ends.
        let body = String::from_utf8_lossy(data.get(4..).unwrap_or_default());
        course.recv(&[("body", &body.into_owned())]);
    }

    while !course.wait_for_stop(WAIT) {}
    course.bye();
    Ok(())
}
