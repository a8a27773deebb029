//! A dispatcher that gives each worker one task at a time.
//!
//! The channel `idle` holds the workers that have no task. `give_away` takes a worker out of it,
//! `hear_done` puts it back. So a worker in the channel has no task, and a task waits only while the
//! channel is empty.

use course::{Course, Fields, Op};
use redis::{Client, Connection, RedisResult};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{collections::BTreeMap, error::Error, sync::Mutex, thread, time::Duration};

/// For each busy worker the op of the task that it has.
static GIVEN: Mutex<BTreeMap<i64, Op>> = Mutex::new(BTreeMap::new());

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let reports = client.get_connection()?; // a connection of its own: BLPOP blocks it
    let redis = client.get_connection()?;
    let (put_back, idle) = mpsc::channel();
    let workers = course.number("workers");
    for worker in 0..workers {
        put_back.send(worker)?;
    }
    let hearing = course.clone();
    thread::spawn(move || hear_done(&hearing, reports, &put_back).expect("the connection to Redis failed"));
    course.ready();
    give_away(&course, redis, &idle)?;
    for _ in 0..workers {
        // When all workers are idle again, all tasks are done.
        if idle.recv_timeout(Duration::from_secs(1)).is_err() {
            eprintln!("told to stop, but a worker is still busy");
            break;
        }
    }
    course.bye();
    Ok(())
}

fn give_away(course: &Course, mut redis: Connection, idle: &Receiver<i64>) -> Result<(), Box<dyn Error>> {
    for op in course.ops() {
        let worker = idle.recv()?; // waits while all workers are busy; further ops wait in `course.ops`
        let list = format!("{}:worker:{worker}", course.text("name"));
        let body = op.text("body").to_string();
        GIVEN.lock().unwrap().insert(worker, op); // before the RPUSH: the report may come at once
        redis::cmd("RPUSH").arg(list).arg(body).exec(&mut redis)?;
    }
    Ok(())
}

fn hear_done(course: &Course, mut reports: Connection, idle: &Sender<i64>) -> RedisResult<()> {
    let done = format!("{}:done", course.text("name"));
    loop {
        let (_, report): (String, String) = redis::cmd("BLPOP").arg(&done).arg(0).query(&mut reports)?;
        let worker = Fields::parse(&report).unwrap_or_default().number("worker");
        let op = GIVEN.lock().unwrap().remove(&worker);
        if let Some(op) = op {
            course.ok(&op, &[]);
            let _ = idle.send(worker); // fails only when the program is about to exit
        }
    }
}
