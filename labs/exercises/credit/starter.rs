//! Credit: the receiver says how many messages it can take; the sender keeps to that.
//!
//! This version sends whatever it is told, and does not ask for the credit.

use std::io::{Read, Result, Write};
use std::net::TcpStream;
use std::thread;

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

fn listen(connection: &mut TcpStream) {
    while let Ok(text) = read_frame(connection) {
        eprintln!("the receiver says: {text}"); // "credit 3"
    }
}

fn main() -> Result<()> {
    let course = course::start();
    let mut connection = TcpStream::connect(course.text("endpoint"))?;
    let mut credits = connection.try_clone()?;
    thread::spawn(move || listen(&mut credits));
    course.ready();

    for op in course.ops() {
        // TODO: May this message be sent now? If not: where does it wait, how many may wait there,
        // and who sends it when the credit comes?
        write_frame(&mut connection, op.text("body"))?;
        course.ok(&op, &[]);
    }

    course.bye();
    Ok(())
}
