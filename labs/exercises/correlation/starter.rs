//! Sends requests over a Redis list and waits for the replies.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use course::{Course, Fields, Op, object};
use redis::{Client, Connection, RedisResult, cmd};

/// The ops without a reply, and when their time is up; the oldest first.
type Waiting = VecDeque<(Op, Instant)>;

struct Requester {
    course: Course,
    reply_to: String, // a list of our own
    waiting: Mutex<Waiting>,
    all_asked: AtomicBool,
}

impl Requester {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, redis: &mut Connection) -> RedisResult<()> {
        let requests = format!("{}:requests", self.course.text("name"));
        for (number, op) in self.course.ops().enumerate() {
            let id = number.to_string();
            let request = object(&[("id", &id), ("reply_to", &self.reply_to), ("body", &op.text("body"))]);
            let deadline = Instant::now() + Duration::from_millis(op.number("timeout_ms").unsigned_abs());
            self.waiting().push_back((op, deadline));
            cmd("RPUSH").arg(&requests).arg(request).exec(redis)?;
        }
        Ok(())
    }

    fn receive(&self, redis: &mut Connection) -> RedisResult<()> {
        while !self.all_asked.load(Ordering::Acquire) || !self.waiting().is_empty() {
            let now = Instant::now();
            for text in self.replies(redis)? {
                let reply = Fields::parse(&text).unwrap_or_default();
                // TODO: do replies come in the order of the requests? Does every request get exactly
                // one? How can you tell which request this reply belongs to? Work here and in `ask`.
                if let Some((op, _)) = self.waiting().pop_front() {
                    self.course.ok(&op, &[("body", &reply.text("body"))]);
                }
            }
            self.waiting().retain(|(op, deadline)| {
                let in_time = *deadline > now;
                if !in_time {
                    self.course.fail(op, "timeout");
                }
                in_time
            });
        }
        Ok(())
    }

    /// All replies that are on the list; waits a little for the first.
    fn replies(&self, redis: &mut Connection) -> RedisResult<Vec<String>> {
        let first: Option<(String, String)> = cmd("BLPOP").arg(&self.reply_to).arg(0.1).query(redis)?;
        let Some((_, first)) = first else { return Ok(Vec::new()) };
        let others: Option<Vec<String>> = cmd("LPOP").arg(&self.reply_to).arg(1000).query(redis)?;
        Ok([vec![first], others.unwrap_or_default()].concat())
    }
}

fn main() -> RedisResult<()> {
    let course = course::start();
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    // A connection for each thread: a connection that waits in BLPOP can do nothing else.
    let (mut sender, mut receiver) = (client.get_connection()?, client.get_connection()?);
    let reply_to = format!("{}:replies:{}", course.text("name"), std::process::id());
    let (waiting, all_asked) = Default::default();
    let requester = Requester { course, reply_to, waiting, all_asked };
    requester.course.ready();

    thread::scope(|scope| {
        let receiving = scope.spawn(|| requester.receive(&mut receiver));
        let asked = requester.ask(&mut sender);
        requester.all_asked.store(true, Ordering::Release);
        receiving.join().unwrap_or(Ok(())).and(asked)
    })?;
    cmd("DEL").arg(&requester.reply_to).exec(&mut sender)?;
    requester.course.bye();
    Ok(())
}
