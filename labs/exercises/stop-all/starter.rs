//! Stop all: several workers search; when one has found it, all of them stop.
//!
//! In this version the worker that has found it says so, and nobody listens.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let course = course::start();
    let name = course.text("name");
    let (tasks, results) = (format!("{name}:tasks"), format!("{name}:results"));
    let control = format!("{name}:control");
    let endpoint = format!("redis://{}", course.text("endpoint"));
    let mut redis = redis::Client::open(endpoint)?.get_connection()?;
    course.ready();

    // TODO: A connection that has subscribed cannot take tasks from a list. How can a worker take
    // tasks and hear "stop"? And from which moment on does it hear "stop" for sure?
    while !course.stopped() {
        // Waits for at most 0.2 seconds.
        let popped: Option<(String, String)> = redis::cmd("BLPOP").arg(&tasks).arg(0.2).query(&mut redis)?;
        let Some((_, task)) = popped else { continue };
        let answer = course.effect(&task, &task)?;
        if answer.text("match") == "true" {
            redis::cmd("RPUSH").arg(&results).arg(&task).exec(&mut redis)?;
            redis::cmd("PUBLISH").arg(&control).arg("stop").exec(&mut redis)?;
            break;
        }
    }

    course.bye();
    Ok(())
}
