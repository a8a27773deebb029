//! Measure right: how long do requests take, also when the server has a pause?
//!
//! This version sends the next request when the answer to the last one has come.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use course::Op;

fn write_frame(connection: &mut TcpStream, text: &str) -> Result<()> {
    let length = (text.len() as u32).to_be_bytes();
    connection.write_all(&[&length, text.as_bytes()].concat())
}

fn read_frame(connection: &mut TcpStream) -> Result<String> {
    let mut header = [0; 4];
    connection.read_exact(&mut header)?;
    let mut data = vec![0; u32::from_be_bytes(header) as usize];
    connection.read_exact(&mut data)?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

/// The smallest of the values that at least this share of all values does not exceed.
fn percentile(ordered: &[u128], share: f64) -> u128 {
    ordered[(share * ordered.len() as f64).ceil() as usize - 1]
}

/// A number that may have a fraction.
fn number(op: &Op, name: &str) -> f64 {
    op.text(name).parse().unwrap_or(1.0)
}

fn main() -> Result<()> {
    let course = course::start();
    let mut connection = TcpStream::connect(course.text("endpoint"))?;
    // An answer that takes longer does not come any more.
    connection.set_read_timeout(Some(Duration::from_secs(1)))?;
    course.ready();

    for op in course.ops() {
        let (rate, seconds) = (number(&op, "rate"), number(&op, "seconds"));
        let interval = Duration::from_secs_f64(1.0 / rate);
        let (mut sent, mut micros) = (0_u64, Vec::new());
        for number in 0..(rate * seconds).round() as u64 {
            // TODO: How many requests does this loop send while the server has a pause of half a
            // second? How many would have been due in that time, and how long would they have waited?
            let begin = Instant::now();
            write_frame(&mut connection, &number.to_string())?;
            sent += 1;
            match read_frame(&mut connection) {
                Ok(_) => micros.push(begin.elapsed().as_micros()),
                Err(error) => eprintln!("no answer to request {number}: {error}"),
            }
            thread::sleep(interval.saturating_sub(begin.elapsed()));
        }
        micros.sort_unstable();
        let (p50, p99) = (percentile(&micros, 0.5), percentile(&micros, 0.99));
        let max = micros[micros.len() - 1];
        course.ok(
            &op,
            &[("sent", &sent), ("received", &sent), ("p50_us", &p50), ("p99_us", &p99), ("max_us", &max)],
        );
    }

    course.bye();
    Ok(())
}
