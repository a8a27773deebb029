//! Where brokers are and what they are: IPv6, a cluster, an older protocol, limits of size.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{self, Source};
use harness::process::die_with_parent;
use labs::lab::Broker;
use tempfile::TempDir;

use super::{bench, good};
use crate::program::run;
use crate::wait_until;

/// A port where nobody listens.
pub(super) fn nobody() -> Result<u16> {
    broker::free_port()
}

/// A broker that was started by hand, as a user starts it.
pub(super) struct ByHand {
    child: Child,
    pub(super) port: u16,
    _dir: TempDir,
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the broker's program; `arguments` get a free port and a folder.
pub(super) fn by_hand(
    broker: Broker,
    host: &str,
    arguments: impl FnOnce(u16, &std::path::Path) -> Result<Vec<String>>,
) -> Result<ByHand> {
    let (Source::Program(program) | Source::Wheel(program)) = broker::find(broker, &Default::default())?
    else {
        bail!("no program")
    };
    let dir = tempfile::tempdir()?;
    let port = broker::free_port()?;
    let mut command = Command::new(program);
    command.args(arguments(port, dir.path())?).current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    die_with_parent(&mut command);
    let mut child = command.spawn()?;
    wait_until("the broker listens", || {
        ensure!(child.try_wait()?.is_none(), "{broker} has ended");
        Ok(std::net::TcpStream::connect((host, port)).is_ok())
    })?;
    Ok(ByHand { child, port, _dir: dir })
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Labs and baselines reach `[::1]`; where this machine has no IPv6 there is nothing to reach.
pub(super) fn ipv6() -> Result<()> {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("this machine has no IPv6");
        return Ok(());
    }
    let redis =
        by_hand(Broker::Redis, "::1", |port, _| Ok(words(&format!("--port {port} --bind ::1 --save"))))?;
    // Nobody is there on the other loopback address.
    ensure!(std::net::TcpStream::connect(("127.0.0.1", redis.port)).is_err(), "it listens at 127.0.0.1, too");
    good(bench(&format!("redis=redis://[::1]:{}", redis.port), &["oneway-redis", "pubsub-redis"], &[])?)?;
    let nats = by_hand(Broker::Nats, "::1", |port, _| Ok(words(&format!("-a ::1 -p {port}"))))?;
    good(bench(&format!("nats=nats://[::1]:{}", nats.port), &["oneway-nats"], &[])?)?;
    let mqtt = by_hand(Broker::Mqtt, "::1", |port, dir| {
        mosquitto(dir, &format!("listener {port} ::1\nallow_anonymous true\n"))
    })?;
    good(bench(&format!("mqtt=mqtt://[::1]:{}", mqtt.port), &["oneway-mqtt"], &[])?)
}

/// The arguments of a Mosquitto with this configuration.
pub(super) fn mosquitto(dir: &std::path::Path, configuration: &str) -> Result<Vec<String>> {
    let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
    let file = dir.join("own.conf");
    std::fs::write(&file, format!("{configuration}{user}"))?;
    Ok(vec!["-c".to_owned(), file.display().to_string()])
}

pub(super) fn cluster() -> Result<()> {
    let node = by_hand(Broker::Redis, "127.0.0.1", |port, _| {
        Ok(words(&format!(
            "--port {port} --bind 127.0.0.1 --save --cluster-enabled yes --cluster-port {}",
            nobody()?
        )))
    })?;
    let url = format!("redis=redis://127.0.0.1:{}", node.port);
    for words in
        [vec!["doctor", "redis", "--json", "--url", &url], vec!["run", "oneway-redis", "--url", &url]]
    {
        let ran = run(&words)?.expect(1)?;
        let said = format!("{}{}", ran.out, ran.err);
        ensure!(said.contains("a node of a cluster"), "{said}");
    }
    bench(&url, &["queue-redis"], &["--no-floor"])?.expect(1)?.told(&["a node of a cluster"])
}

/// nats-server speaks MQTT 3.1.1.
pub(super) fn mqtt_311() -> Result<()> {
    let mqtt = nobody()?;
    let _nats = by_hand(Broker::Nats, "127.0.0.1", |port, dir| {
        let file = dir.join("nats.conf");
        let text = format!(
            "server_name: old\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {dir:?} }}\n\
             mqtt {{ listen: \"127.0.0.1:{mqtt}\" }}\n"
        );
        std::fs::write(&file, text)?;
        Ok(vec!["-c".to_owned(), file.display().to_string()])
    })?;
    wait_until("it speaks MQTT", || Ok(std::net::TcpStream::connect(("127.0.0.1", mqtt)).is_ok()))?;
    let url = format!("mqtt=mqtt://127.0.0.1:{mqtt}");
    let ran = run(&["doctor", "mqtt", "--url", &url])?.expect(1)?;
    ensure!(ran.out.contains("MQTT 5"), "{}", ran.out);
    bench(&url, &["oneway-mqtt"], &["--no-floor"])?.expect(1)?.told(&["MQTT 5"])
}

/// NATS with a limit, and Mosquitto with one: the larger size is left out, and the other measured.
pub(super) fn too_large() -> Result<()> {
    let nats = by_hand(Broker::Nats, "127.0.0.1", |port, dir| {
        let file = dir.join("nats.conf");
        std::fs::write(&file, format!("listen: \"127.0.0.1:{port}\"\nmax_payload: 2048\n"))?;
        Ok(vec!["-c".to_owned(), file.display().to_string()])
    })?;
    let mqtt = by_hand(Broker::Mqtt, "127.0.0.1", |port, dir| {
        mosquitto(dir, &format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_packet_size 2048\n"))
    })?;
    for (url, lab, name) in [
        (format!("nats=nats://127.0.0.1:{}", nats.port), "oneway-nats", "max_payload"),
        (format!("mqtt=mqtt://127.0.0.1:{}", mqtt.port), "oneway-mqtt", "maximum packet size"),
    ] {
        let ran = bench(&url, &[lab], &["--size", "64", "--size", "4096"])?.expect(0)?;
        let run: serde_json::Value = serde_json::from_str(&ran.out)?;
        let skipped = run["skipped"][0]["reason"].as_str().context("nothing is left out")?;
        ensure!(skipped.contains("4096 bytes are larger") && skipped.contains(name), "{skipped}");
        let sizes: Vec<u64> =
            run["cells"].as_array().into_iter().flatten().filter_map(|cell| cell["size"].as_u64()).collect();
        ensure!(!sizes.is_empty() && sizes.iter().all(|size| *size == 64), "{sizes:?} were measured");
        bench(&url, &[lab], &["--size", "4096"])?.expect(1)?.told(&["4096 bytes are larger", name])?;
    }
    Ok(())
}
