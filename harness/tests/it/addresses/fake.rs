//! Servers that answer badly: each is a listener of its own, for as long as one command runs.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;

use super::{SECRET, silent_about_it};
use crate::program::{Ran, run};

/// Long enough for every command here on a busy machine, and short of the minutes that it took.
const PATIENCE: Duration = Duration::from_secs(60);
/// The memory of one process that asks, bytes.
const MOST: u64 = 64 << 20;

/// A server that does this with each of its clients, on a thread for each.
struct Fake {
    port: u16,
}

impl Fake {
    fn start(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                // A client that leaves ends it.
                std::thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { port })
    }

    fn url(&self, broker: Broker, scheme: &str) -> String {
        format!("{broker}={scheme}://me:{SECRET}@127.0.0.1:{}", self.port)
    }
}

const OWN: [(Broker, &str, &str); 4] = [
    (Broker::Redis, "redis", "pubsub-redis"),
    (Broker::RabbitMq, "amqp", "oneway-rabbitmq"),
    (Broker::Mqtt, "mqtt", "oneway-mqtt"),
    (Broker::Nats, "nats", "oneway-nats"),
];

pub(super) fn tls() -> Result<()> {
    let heard = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&heard);
    let fake = Fake::start(move |mut stream| {
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut part) {
            count.fetch_add(read, Ordering::Relaxed);
        }
        Ok(())
    })?;
    for (broker, scheme, lab) in [
        (Broker::RabbitMq, "amqps", "oneway-rabbitmq"),
        (Broker::RabbitMq, "stomp+ssl", "oneway-stomp"),
        (Broker::Redis, "rediss", "oneway-redis"),
        (Broker::Redis, "valkeys", "oneway-redis"),
        (Broker::Mqtt, "mqtts", "oneway-mqtt"),
        (Broker::Mqtt, "ssl", "oneway-mqtt"),
        (Broker::Mqtt, "wss", "oneway-mqtt"),
        (Broker::Nats, "tls", "oneway-nats"),
        (Broker::Nats, "nats+tls", "oneway-nats"),
    ] {
        let url = fake.url(broker, scheme);
        for words in [
            vec!["bench", lab, "--url", &url],
            vec!["doctor", broker.as_str(), "--url", &url],
            vec!["run", lab, "--url", &url],
        ] {
            let ran = run(&words)?;
            silent_about_it(&ran)?;
            ran.expect(2)?.told(&["TLS is not spoken here"])?;
        }
    }
    ensure!(heard.load(Ordering::Relaxed) == 0, "something was sent");
    Ok(())
}

type Serve = fn(Broker, TcpStream) -> std::io::Result<()>;

/// Asks a fake of each broker by doctor and by bench, all at once: each waits for its limit.
fn given_up(serve: Serve) -> Result<()> {
    std::thread::scope(|scope| {
        let asked = OWN.map(|own| {
            [scope.spawn(move || by_doctor(serve, own)), scope.spawn(move || by_bench(serve, own))]
        });
        asked.into_iter().flatten().try_for_each(|one| one.join().expect("no test panics"))
    })
}

fn by_doctor(serve: Serve, (broker, scheme, _): (Broker, &str, &str)) -> Result<()> {
    let fake = Fake::start(move |stream| serve(broker, stream))?;
    within_limits(&["doctor", broker.as_str(), "--url", &fake.url(broker, scheme)])
}

fn by_bench(serve: Serve, (broker, scheme, lab): (Broker, &str, &str)) -> Result<()> {
    let fake = Fake::start(move |stream| serve(broker, stream))?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("result_set");
    let url = fake.url(broker, scheme);
    within_limits(&["bench", lab, "--no-floor", "--url", &url, "--out", crate::program::text(&out)?])?;
    ensure!(!out.exists(), "a trial was begun");
    Ok(())
}

/// It gives up, within the time and the memory.
fn within_limits(words: &[&str]) -> Result<()> {
    let (ran, peak) = watched(words).with_context(|| format!("{words:?}"))?;
    silent_about_it(&ran)?;
    ran.expect(1)?;
    ensure!(peak < MOST, "{words:?} took {peak} bytes of memory");
    Ok(())
}

/// Runs `lab`, and returns the largest private memory of a process of it.
fn watched(words: &[&str]) -> Result<(Ran, u64)> {
    let mut live = crate::program::Live::start(words)?;
    let began = std::time::Instant::now();
    let mut peak = 0;
    while !live.has_ended()? {
        ensure!(began.elapsed() < PATIENCE, "it did not give up, and said:\n{}", live.said());
        for pid in harness::process::tree(&[live.pid()]) {
            let status = procfs::process::Process::new(pid as i32).and_then(|process| process.status());
            peak = peak.max(status.ok().and_then(|status| status.rssanon).unwrap_or_default() * 1024);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((live.end()?, peak))
}

pub(super) fn silent() -> Result<()> {
    given_up(|_, stream| {
        std::thread::sleep(2 * PATIENCE);
        drop(stream);
        Ok(())
    })
}

/// Says something valid again and again, and never what is waited for.
pub(super) fn talks() -> Result<()> {
    given_up(|broker, mut stream| {
        let (first, again): (&[u8], &[u8]) = match broker {
            Broker::Redis => (b"", b"*1\r\n+OK\r\n"),
            // Heartbeats.
            Broker::RabbitMq => (b"", b"\x08\0\0\0\0\0\0\xce"),
            Broker::Mqtt => (b"", b"\xd0\0"),
            Broker::Nats => (b"INFO {\"version\":\"2.9.0\",\"max_payload\":1048576}\r\n", b"PING\r\n"),
        };
        stream.write_all(first)?;
        let many = again.repeat(512);
        loop {
            stream.write_all(&many)?;
            // Slowly, for the sake of other tests: `endless` is the flood.
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

pub(super) fn endless() -> Result<()> {
    given_up(|broker, mut stream| {
        stream.write_all(match broker {
            Broker::Redis => b"+",
            // A frame of almost 4 GiB.
            Broker::RabbitMq => b"\x01\0\0\xff\xff\xff\xf0",
            Broker::Mqtt => b"\x20\xff\xff\xff\x7f",
            Broker::Nats => b"INFO ",
        })?;
        let many = [b'x'; 1 << 16];
        loop {
            stream.write_all(&many)?;
        }
    })
}

/// Greetings with bytes that a terminal would act on.
pub(super) fn escaped() -> Result<()> {
    for (broker, scheme, lab) in OWN {
        let fake = Fake::start(move |mut stream| {
            stream.write_all(match broker {
                Broker::Redis => b"-ERR \x1b[2J\xff\x07 S3cret-Marker\r\n",
                // connection.close, 541, with a text.
                Broker::RabbitMq => {
                    b"\x01\0\0\0\0\0\x1e\0\x0a\0\x32\x02\x1d\x13 \x1b[2J S3cret-Marker\0\0\0\0\xce"
                }
                Broker::Mqtt => b"\x1b[2J\xff\x07 S3cret-Marker\r\n",
                Broker::Nats => b"-ERR \x1b[2J\xff\x07 S3cret-Marker\r\n",
            })?;
            std::thread::sleep(PATIENCE);
            Ok(())
        })?;
        let url = fake.url(broker, scheme);
        for words in
            [vec!["doctor", broker.as_str(), "--url", &url], vec!["bench", lab, "--no-floor", "--url", &url]]
        {
            let ran = run(&words)?.expect(1)?;
            let said = format!("{}{}", ran.out, ran.err);
            ensure!(said.contains("\\u{1b}[2J"), "what it said is not shown:\n{said}");
            ensure!(said.matches("[2J").count() == 1, "it is said more than once:\n{said}");
            ensure!(!said.contains(['\x1b', '\x07']), "raw bytes are shown:\n{said}");
            silent_about_it(&ran)?;
        }
    }
    Ok(())
}

/// Recorded answers of brokers that are not on this machine: Redis 6.0.16 and 6.2.5.
pub(super) fn older() -> Result<()> {
    for (version, runs, left_out) in [
        (
            "6.0.16",
            &["pubsub-redis", "pubsub-redis-stream"][..],
            &["queue-redis", "oneway-redis", "queue-redis-stream"][..],
        ),
        (
            "6.2.5",
            &["pubsub-redis", "queue-redis", "queue-redis-stream"],
            &["oneway-redis", "reqrep-redis", "pipeline-redis"],
        ),
    ] {
        let fake = Fake::start(move |stream| serve_redis(stream, version))?;
        let url = format!("redis=redis://127.0.0.1:{}", fake.port);
        let ran = run(&["doctor", "redis", "--json", "--url", &url])?.expect(0)?;
        let said: serde_json::Value = serde_json::from_str(&ran.out)?;
        let told = said["brokers"][0]["left_out"].to_string();
        for lab in left_out {
            ensure!(told.contains(&format!("\"{lab}\"")), "{lab} is not left out of {version}: {told}");
        }
        for lab in runs {
            ensure!(!told.contains(&format!("\"{lab}\"")), "{lab} is left out of {version}: {told}");
        }
        let ran = run(&["bench", left_out[0], "--no-floor", "--url", &url])?.expect(1)?;
        ran.told(&["it needs redis", version])?;
    }
    Ok(())
}

/// As much of Redis as the check asks.
fn serve_redis(mut stream: TcpStream, version: &str) -> std::io::Result<()> {
    let info = format!("redis_version:{version}\r\nredis_mode:standalone\r\nrole:master\r\n");
    let mut input = std::io::BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        // Each command is an array of strings with their lengths.
        let mut word = || {
            line.clear();
            match std::io::BufRead::read_line(&mut input, &mut line) {
                Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(line.trim_end().to_owned()),
                Err(error) => Err(error),
            }
        };
        let count: usize = word()?.trim_start_matches('*').parse().unwrap_or_default();
        let mut words = Vec::new();
        for _ in 0..count {
            word()?;
            words.push(word()?);
        }
        let answer = match words.first().map(String::as_str) {
            Some("PING") => "+PONG\r\n".to_owned(),
            Some("INFO") => format!("${}\r\n{info}\r\n", info.len()),
            Some("CONFIG") => "*0\r\n".to_owned(),
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes())?;
    }
}
