//! Measure right: how long do requests take, also when the server has a pause?

use std::collections::HashMap;
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use course::Op;

/// The number of a request, and when its answer came.
type Arrival = (u64, Instant);

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

/// In a thread of its own, so that waiting for an answer never delays a request.
fn listen(connection: &mut TcpStream, arrivals: &Sender<Arrival>) {
    while let Ok(text) = read_frame(connection) {
        let _ = arrivals.send((text.parse().unwrap_or(u64::MAX), Instant::now()));
    }
}

/// The smallest of the values that at least this share of all values does not exceed.
fn percentile(ordered: &[u128], share: f64) -> u128 {
    ordered[(share * ordered.len() as f64).ceil() as usize - 1]
}

struct Benchmark {
    connection: TcpStream,
    arrivals: Receiver<Arrival>,
    next: u64, // goes on from one measurement to the next: no number comes twice
}

impl Benchmark {
    /// Sends requests on time. Returns the latencies of the answers, in microseconds and in order.
    fn measure(&mut self, rate: f64, count: u64) -> Result<Vec<u128>> {
        let mut due = HashMap::new();
        let start = Instant::now();
        for index in 0..count {
            // The schedule is fixed beforehand. What delays one request does not shift the next.
            let when = start + Duration::from_secs_f64(index as f64 / rate);
            due.insert(self.next, when);
            thread::sleep(when.saturating_duration_since(Instant::now()));
            write_frame(&mut self.connection, &self.next.to_string())?;
            self.next += 1;
        }
        let deadline = Instant::now() + Duration::from_secs(1); // what has not come by then is lost
        let mut latencies = Vec::new();
        while !due.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((number, arrived)) = self.arrivals.recv_timeout(left) else { break };
            // A number that is not in `due` belongs to an earlier measurement.
            if let Some(due) = due.remove(&number) {
                latencies.push((arrived - due).as_micros());
            }
        }
        latencies.sort_unstable();
        Ok(latencies)
    }
}

/// A number that may have a fraction.
fn number(op: &Op, name: &str) -> f64 {
    op.text(name).parse().unwrap_or(1.0)
}

fn main() -> Result<()> {
    let course = course::start();
    let connection = TcpStream::connect(course.text("endpoint"))?;
    connection.set_nodelay(true)?; // small requests leave at once
    let mut answers = connection.try_clone()?;
    let (sender, arrivals) = mpsc::channel();
    thread::spawn(move || listen(&mut answers, &sender));
    let mut benchmark = Benchmark { connection, arrivals, next: 0 };
    course.ready();

    for op in course.ops() {
        let (rate, seconds) = (number(&op, "rate"), number(&op, "seconds"));
        let sent = (rate * seconds).round() as u64;
        let latencies = benchmark.measure(rate, sent)?;
        let Some(max) = latencies.last() else {
            course.fail(&op, "no answers");
            continue;
        };
        let (p50, p99) = (percentile(&latencies, 0.5), percentile(&latencies, 0.99));
        let received = latencies.len();
        course.ok(
            &op,
            &[("sent", &sent), ("received", &received), ("p50_us", &p50), ("p99_us", &p99), ("max_us", max)],
        );
    }

    course.bye();
    Ok(())
}
