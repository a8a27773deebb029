//! Receives messages over TCP: four bytes of length (big-endian), then that many bytes of UTF-8.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(200);

/// Removes the first message from these bytes; `None` when it is not complete.
fn take(received: &mut Vec<u8>) -> Option<String> {
    let header = received.first_chunk::<4>()?;
    let end = 4 + u32::from_be_bytes(*header) as usize;
    if received.len() < end {
        return None;
    }
    let frame: Vec<u8> = received.drain(..end).collect();
    Some(String::from_utf8_lossy(&frame[4..]).into_owned())
}

fn main() -> std::io::Result<()> {
    let course = course::start();
    let mut connection = TcpStream::connect(course.text("endpoint"))?;
    connection.set_read_timeout(Some(WAIT))?; // so that a stop is noticed while nothing comes
    course.ready();

    // TCP carries bytes, not messages: what one `read` returns can begin and end anywhere. So the
    // bytes are kept until a whole frame is there, and what is behind it is kept for the next one.
    let mut received = Vec::new();
    let mut buffer = vec![0; 65536];
    while !course.stopped() {
        match connection.read(&mut buffer) {
            Ok(0) => break, // the other side has closed the connection
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue, // the time-out
            Err(_) => break,
        }
        while let Some(body) = take(&mut received) {
            course.recv(&[("body", &body)]);
        }
    }

    while !course.wait_for_stop(WAIT) {}
    course.bye();
    Ok(())
}
