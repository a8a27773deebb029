//! A sender of orders with an outbox: an order is on disk before it is confirmed.
//!
//! `orders` in the state folder has one order a line. `published` has the number of lines that
//! are in the stream. A thread publishes the rest, for as long as it takes.

use course::{Course, Fields, object};
use redis::{Client, Connection, RedisResult};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::{error::Error, path::Path, thread, time::Duration};

struct Orders {
    /// All orders. The line number is the id, also after a restart.
    bodies: Vec<String>,
    /// How many of them are in the stream.
    published: usize,
}

type Outbox = Arc<(Mutex<Orders>, Condvar)>;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let state = Path::new(course.text("state"));
    let mut file = OpenOptions::new().create(true).append(true).open(state.join("orders"))?;
    let outbox = Arc::new((Mutex::new(restore(state, &file)?), Condvar::new()));
    let (publisher, shared) = (course.clone(), outbox.clone());
    thread::spawn(move || publish(&publisher, &client, &shared).expect("the state folder failed"));
    let (orders, changed) = &*outbox;
    course.ready(); // without a broker, too
    for op in course.ops() {
        let line = object(&[("body", &op.text("body"))]) + "\n";
        file.write_all(line.as_bytes())?;
        file.sync_all()?; // out of the system's memory: on the disk
        course.ok(&op, &[]);
        orders.lock().unwrap().bodies.push(op.text("body").to_string());
        changed.notify_all();
    }
    let patience = Duration::from_secs(3); // what is not published by then stays on disk
    let waiting = |orders: &mut Orders| orders.published < orders.bodies.len();
    let _rest = changed.wait_timeout_while(orders.lock().unwrap(), patience, waiting).unwrap();
    course.bye();
    Ok(())
}

/// Reads the files, and cuts off half a line: its order was never confirmed.
fn restore(state: &Path, file: &File) -> io::Result<Orders> {
    let text = fs::read(state.join("orders"))?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    file.set_len(whole as u64)?;
    let lines = String::from_utf8_lossy(&text[..whole]);
    let bodies =
        lines.lines().filter_map(Fields::parse).map(|order| order.text("body").to_string()).collect();
    let published = fs::read_to_string(state.join("published")).unwrap_or_default();
    Ok(Orders { bodies, published: published.parse().unwrap_or(0) })
}

/// Publishes the orders in turn. Each is tried until the broker has answered.
fn publish(course: &Course, client: &Client, outbox: &Outbox) -> io::Result<()> {
    let (orders, changed) = &**outbox;
    let stream = format!("{}:orders", course.text("name"));
    let path = Path::new(course.text("state")).join("published");
    let mut connection = None;
    loop {
        let all_published = |orders: &mut Orders| orders.published == orders.bodies.len();
        let waiting = changed.wait_while(orders.lock().unwrap(), all_published).unwrap();
        let (number, body) = (waiting.published + 1, waiting.bodies[waiting.published].clone());
        drop(waiting); // so that orders are confirmed while this one is published
        let id = format!("order-{number}");
        if let Err(error) = add(client, &mut connection, &[&stream, "*", "id", &id, "body", &body]) {
            // The order may be in the stream or not: its answer did not come. So it is published
            // again, with the same id, and a reader can tell.
            eprintln!("try again: {error}");
            connection = None;
            thread::sleep(Duration::from_millis(50));
            continue;
        }
        replace(&path, &number.to_string())?;
        orders.lock().unwrap().published = number;
        changed.notify_all();
    }
}

fn add(client: &Client, connection: &mut Option<Connection>, words: &[&str]) -> RedisResult<()> {
    let open = match connection {
        Some(open) => open,
        none => none.insert(client.get_connection_with_timeout(Duration::from_secs(5))?),
    };
    open.set_read_timeout(Some(Duration::from_secs(5)))?;
    redis::cmd("XADD").arg(words).exec(open)
}

/// Replaces a file in one step: there is the old text or the new one, never half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}
