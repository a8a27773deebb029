//! Stop all: several workers search; when one has found it, all of them stop.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use redis::{Client, RedisResult};

/// Whether a worker has said "stop".
static FOUND: AtomicBool = AtomicBool::new(false);

/// Waits for "stop". Has a connection of its own: one that has subscribed cannot take tasks.
fn listen(client: &Client, channel: &str, subscribed: &Sender<()>) -> RedisResult<()> {
    let mut connection = client.get_connection()?;
    let mut control = connection.as_pubsub();
    control.subscribe(channel)?; // returns when Redis has confirmed it
    let _ = subscribed.send(());
    while control.get_message()?.get_payload::<String>()? != "stop" {}
    FOUND.store(true, Ordering::Relaxed);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let name = course.text("name");
    let (tasks, results) = (format!("{name}:tasks"), format!("{name}:results"));
    let control = format!("{name}:control");
    let client = Client::open(format!("redis://{}", course.text("endpoint")))?;
    let mut redis = client.get_connection()?;

    let (sender, subscribed) = mpsc::channel();
    let channel = control.clone();
    thread::spawn(move || listen(&client, &channel, &sender));
    subscribed.recv()?; // from now on no stop is missed
    course.ready();

    // FOUND is looked at between two tasks: the one in hand is finished, and no other is taken.
    while !FOUND.load(Ordering::Relaxed) && !course.stopped() {
        // Waits for a short time only, so that a worker without tasks looks at FOUND, too.
        let popped: Option<(String, String)> = redis::cmd("BLPOP").arg(&tasks).arg(0.1).query(&mut redis)?;
        let Some((_, task)) = popped else { continue };
        let answer = course.effect(&task, &task)?;
        if answer.text("match") == "true" {
            // The result first: a program that hears "stop" may look for it at once.
            redis::cmd("RPUSH").arg(&results).arg(&task).exec(&mut redis)?;
            redis::cmd("PUBLISH").arg(&control).arg("stop").exec(&mut redis)?;
            break; // the own "stop" comes back, too, but there is no reason to wait for it
        }
    }

    course.bye();
    Ok(())
}
