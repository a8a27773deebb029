//! A dispatcher: it gives the tasks that it is told to its workers, and says `ok` when one is done.
//!
//! This version gives every task away at once, to one worker after the other. The tasks pile up at
//! the slow worker. Change `give_away`.

use course::{Course, Fields, Op};
use redis::{Client, Connection, RedisResult};
use std::collections::{BTreeMap, VecDeque};
use std::{error::Error, sync::Mutex, thread};

/// For each worker the tasks that it has, oldest first.
static GIVEN: Mutex<BTreeMap<i64, VecDeque<Op>>> = Mutex::new(BTreeMap::new());

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let reports = client.get_connection()?; // a connection of its own: BLPOP blocks it
    let hearing = course.clone();
    thread::spawn(move || hear_done(&hearing, reports).expect("the connection to Redis failed"));
    let redis = client.get_connection()?;
    course.ready();
    give_away(&course, redis)?;
    course.bye();
    Ok(())
}

fn give_away(course: &Course, mut redis: Connection) -> RedisResult<()> {
    // TODO: When may a worker be given its next task, and who knows which worker that is? A task
    // that no worker can take yet has to wait here.
    for (op, worker) in course.ops().zip((0..course.number("workers")).cycle()) {
        let list = format!("{}:worker:{worker}", course.text("name"));
        let body = op.text("body").to_string();
        GIVEN.lock().unwrap().entry(worker).or_default().push_back(op);
        redis::cmd("RPUSH").arg(list).arg(body).exec(&mut redis)?;
    }
    Ok(())
}

/// Takes the reports of the workers.
fn hear_done(course: &Course, mut reports: Connection) -> RedisResult<()> {
    let done = format!("{}:done", course.text("name"));
    loop {
        let (_, report): (String, String) = redis::cmd("BLPOP").arg(&done).arg(0).query(&mut reports)?;
        let worker = Fields::parse(&report).unwrap_or_default().number("worker");
        let op = GIVEN.lock().unwrap().entry(worker).or_default().pop_front();
        if let Some(op) = op {
            course.ok(&op, &[]);
        }
    }
}
