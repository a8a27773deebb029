//! Credit: the receiver says how many messages it can take; the sender keeps to that.

use std::collections::VecDeque;
use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;

use course::{Course, Op};

/// What an op and a credit may change at the same time.
struct Sender {
    course: Course,
    connection: TcpStream,
    credit: u64,
    waiting: VecDeque<Op>, // without credit, the oldest first
}

impl Sender {
    /// Sends while there is something to send and credit for it.
    fn send_waiting(&mut self) -> Result<()> {
        while self.credit > 0
            && let Some(op) = self.waiting.pop_front()
        {
            self.credit -= 1;
            write_frame(&mut self.connection, op.text("body"))?;
            self.course.ok(&op, &[]); // only now: a message that waits is not yet written
        }
        Ok(())
    }
}

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

/// Adds the credit that comes, until the connection is closed.
fn listen(connection: &mut TcpStream, sender: &Mutex<Sender>) -> Result<()> {
    loop {
        let text = read_frame(connection)?;
        if let Some(number) = text.strip_prefix("credit ") {
            let mut sender = sender.lock().unwrap();
            sender.credit += number.parse::<u64>().unwrap_or(0); // on top of what is left
            sender.send_waiting()?;
        }
    }
}

fn main() -> Result<()> {
    let course = course::start();
    let connection = TcpStream::connect(course.text("endpoint"))?;
    let mut credits = connection.try_clone()?;
    let sender = Sender { course: course.clone(), connection, credit: 0, waiting: VecDeque::new() };
    let sender = Arc::new(Mutex::new(sender));
    let listener = sender.clone();
    thread::spawn(move || listen(&mut credits, &listener));
    course.ready();

    for op in course.ops() {
        let mut sender = sender.lock().unwrap();
        // After each `send_waiting` nothing waits or there is no credit. So a full buffer means that
        // there is no credit, and the caller learns at once that it is too fast.
        if sender.waiting.len() >= course.number("buffer") as usize {
            course.fail(&op, "full");
        } else {
            sender.waiting.push_back(op); // behind those that wait, so that none is overtaken
            sender.send_waiting()?;
        }
    }

    for op in sender.lock().unwrap().waiting.drain(..) {
        course.fail(&op, "stopped"); // every op gets an answer
    }
    course.bye();
    Ok(())
}
