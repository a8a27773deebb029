//! The floors of the brokers: bytes encoded beforehand through plain sockets,
//! where the protocol is simple enough, else a client in C.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::measure::account::{self, Counters};
use harness::plan;
use harness::process::guard;

use super::bare::{Count, end, until_left};
use super::measure::{Peer, SIZE, Stand};

/// As long as the lab's own, `lab-RUN:lab.bench`.
const CHANNEL: &str = "lab-0badcafe:lab.bench";
/// What `pubsub-redis` has: commands in one write, and writes not yet answered.
const BATCH: u64 = 256;
const UNANSWERED: u64 = 8;
/// What Redis answers to a PUBLISH when there is one subscriber.
const ANSWER: usize = ":1\r\n".len();
const READ: usize = 64 << 10;
/// How often a full window is looked at again.
const LOOK: Duration = Duration::from_micros(50);

/// Messages a C client publishes before and in its measurement.
const C_WARMUP: &str = "10000";
const C_MESSAGES: &str = "60000";

/// There is nothing to hold RabbitMQ's labs against.
#[derive(Debug)]
pub(super) struct NoCClient;

impl fmt::Display for NoCClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no C client: install librabbitmq-dev (and a C compiler, `cc`)")
    }
}

impl std::error::Error for NoCClient {}

/// Messages a second that a subscriber receives from Redis, both ends plain sockets.
pub(super) fn redis(stand: &Stand) -> Result<f64> {
    let address = stand.url()?.trim_start_matches("redis://").to_owned();
    let accounts = account::new_dir()?;
    let dir = accounts.path().to_str().context("a folder that is not text")?;
    let mut subscriber = end(&["redis", "subscriber", &address, dir])?;
    ensure!(subscriber.line()? == "ready", "the subscriber did not say that it is ready");
    let _publisher = end(&["redis", "publisher", &address, dir])?;
    subscriber.line()?.parse().context("not a number")
}

/// Commands and messages as Redis writes them.
fn resp(parts: &[&str]) -> String {
    let bulks: String = parts.iter().map(|part| format!("${}\r\n{part}\r\n", part.len())).collect();
    format!("*{}\r\n{bulks}", parts.len())
}

pub(super) fn subscribe(address: &str, dir: &str) -> Result<()> {
    let counters = Counters::open(Path::new(dir), "bare")?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(resp(&["SUBSCRIBE", CHANNEL]).as_bytes())?;
    // Its confirmation has the same strings, and a number instead of the third.
    let mut confirmation = vec![0; resp(&["subscribe", CHANNEL]).len() + ANSWER];
    stream.read_exact(&mut confirmation)?;
    println!("ready");
    let message = resp(&["message", CHANNEL, &"m".repeat(SIZE)]).len();
    let (mut buffer, mut bytes, mut received, mut count) = (vec![0; READ], 0, 0, Count::default());
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "Redis has cut the subscriber off");
        bytes += read;
        let messages = (bytes / message) as u64;
        bytes %= message;
        received += messages;
        counters.set_progress(0, received);
        if let Some(rate) = count.add(messages) {
            println!("{rate}");
            return Ok(());
        }
    }
}

/// At most a window ahead of the subscriber: Redis would cut it off.
pub(super) fn publish(address: &str, dir: &str) -> Result<()> {
    let counters = Counters::open(Path::new(dir), "bare")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let commands = resp(&["PUBLISH", CHANNEL, &"m".repeat(SIZE)]).repeat(BATCH as usize);
    let mut answers = vec![0; BATCH as usize * ANSWER];
    let (mut published, mut unanswered) = (0, 0);
    until_left(|| {
        if published + BATCH > counters.progress(0) + plan::WINDOW {
            std::thread::sleep(LOOK);
            return Ok(());
        }
        stream.write_all(commands.as_bytes())?;
        (published, unanswered) = (published + BATCH, unanswered + 1);
        if unanswered == UNANSWERED {
            stream.read_exact(&mut answers)?;
            unanswered -= 1;
        }
        Ok(())
    })
}

/// Through the default exchange to a queue, as `oneway-rabbitmq`.
pub(super) fn amqp_direct(stand: &Stand) -> Result<f64> {
    amqp(stand, "", "lab-floor")
}

/// Through a topic exchange to a queue bound to it, as `pubsub-rabbitmq`.
pub(super) fn amqp_topic(stand: &Stand) -> Result<f64> {
    amqp(stand, "lab-floor", "lab.bench")
}

fn amqp(stand: &Stand, exchange: &str, key: &str) -> Result<f64> {
    let client = c_client(stand)?;
    let start = |what: &str| {
        let mut command = Command::new(&client);
        // Not an argument: it holds the password.
        command.env("AMQP_URL", stand.url()?).args([what, exchange, key, C_WARMUP, C_MESSAGES]);
        Peer::start(command)
    };
    let mut consumer = start("consume")?;
    ensure!(consumer.line()? == "ready", "the consumer did not say that it is ready");
    let _publisher = start("publish")?;
    consumer.line()?.parse().context("not a number")
}

/// The client, compiled once in a run.
fn c_client(stand: &Stand) -> Result<PathBuf> {
    if let Some(client) = stand.c_client.get() {
        return client.clone().ok_or_else(|| NoCClient.into());
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/amqp_floor.c");
    let client = guard::session_dir().join("amqp_floor");
    let compiled = Command::new("cc").arg("-O2").arg("-o").arg(&client).args([source, "-lrabbitmq"]).output();
    let found = match compiled {
        Ok(compiled) if compiled.status.success() => Some(client),
        Ok(compiled) => {
            let complaint = String::from_utf8_lossy(&compiled.stderr).into_owned();
            let missing = ["amqp.h", "-lrabbitmq"].iter().any(|part| complaint.contains(part));
            if !missing {
                bail!("the C client does not compile:\n{complaint}");
            }
            None
        }
        Err(_) => None,
    };
    stand.c_client.get_or_init(|| found).clone().ok_or_else(|| NoCClient.into())
}
