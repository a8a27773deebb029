//! Brokers that let in only who is known: labs, baselines, checks and demonstrations agree on
//! what an address means.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{self, Options, Server, Source};
use labs::lab::Broker;

use super::reach::{by_hand, mosquitto, words};
use super::{SECRET, arguments_below, bench, good, silent_about_it};
use crate::program::{Live, run};

/// The password in an address, with characters that have to be encoded, and as it is.
fn passwords() -> (String, String) {
    (format!("p%40ss%2F{SECRET}"), format!("p@ss/{SECRET}"))
}

/// The check, a demonstration and a bench with baselines.
fn works(broker: Broker, url: &str, labs: &[&str]) -> Result<()> {
    let named = format!("{broker}={url}");
    let ran = run(&["doctor", broker.as_str(), "--url", &named])?;
    silent_about_it(&ran)?;
    ran.expect(0)?;
    let ran = run(&["run", labs[0], "--no-measure", "--url", &named])?;
    silent_about_it(&ran)?;
    ran.expect(0)?;
    good(bench(&named, labs, &[])?)
}

/// A wrong password is told by the check and by bench, before a trial.
fn refused(broker: Broker, url: &str, lab: &str) -> Result<()> {
    let named = format!("{broker}={url}");
    let ran = run(&["doctor", broker.as_str(), "--url", &named])?.expect(1)?;
    silent_about_it(&ran)?;
    ensure!(ran.out.contains("refuses the login"), "{}", ran.out);
    bench(&named, &[lab], &["--no-floor"])?.expect(1)?.told(&["refuses the login"])
}

pub(super) fn nats() -> Result<()> {
    let (encoded, plain) = passwords();
    let known = by_hand(Broker::Nats, "127.0.0.1", |port, dir| {
        nats_with(port, dir, &format!("user: me, password: {plain:?}"))
    })?;
    let url = |login: &str| format!("nats://{login}127.0.0.1:{}", known.port);
    works(Broker::Nats, &url(&format!("me:{encoded}@")), &["oneway-nats", "pubsub-jetstream"])?;
    refused(Broker::Nats, &url(&format!("me:{SECRET}@")), "oneway-nats")?;
    let token =
        by_hand(Broker::Nats, "127.0.0.1", |port, dir| nats_with(port, dir, &format!("token: {plain:?}")))?;
    let url = |login: &str| format!("nats://{login}127.0.0.1:{}", token.port);
    works(Broker::Nats, &url(&format!("{encoded}@")), &["oneway-nats", "queue-jetstream"])?;
    refused(Broker::Nats, &url(&format!("{SECRET}@")), "oneway-nats")
}

fn nats_with(port: u16, dir: &Path, authorization: &str) -> Result<Vec<String>> {
    let file = dir.join("nats.conf");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {dir:?} }}\nauthorization {{ {authorization} }}\n"
    );
    std::fs::write(&file, text)?;
    Ok(vec!["-c".to_owned(), file.display().to_string()])
}

pub(super) fn redis() -> Result<()> {
    let (encoded, plain) = passwords();
    let known = by_hand(Broker::Redis, "127.0.0.1", |port, _| {
        let mut arguments = words(&format!("--port {port} --bind 127.0.0.1 --save"));
        arguments.extend(["--requirepass".to_owned(), plain.clone()]);
        Ok(arguments)
    })?;
    for login in [format!(":{encoded}@"), format!("default:{encoded}@")] {
        let labs = ["pubsub-redis", "oneway-redis", "pubsub-redis-stream"];
        works(Broker::Redis, &format!("redis://{login}127.0.0.1:{}/3", known.port), &labs)?;
    }
    refused(Broker::Redis, &format!("valkey://:{SECRET}@127.0.0.1:{}", known.port), "oneway-redis")?;
    // Without a login it says that it wants one.
    let ran =
        run(&["doctor", "redis", "--url", &format!("redis=redis://127.0.0.1:{}", known.port)])?.expect(1)?;
    ensure!(ran.out.contains("wants a login"), "{}", ran.out);
    children_have_no_password(&format!("redis=redis://:{encoded}@127.0.0.1:{}", known.port))
}

/// While labs, workers and other roles run, no process but the one that was typed has the password
/// in its arguments, and nothing that is printed has it.
fn children_have_no_password(url: &str) -> Result<()> {
    let at = url.split_once('=').context("no address")?.1;
    for (words, ready) in [
        (vec!["play", "pubsub-redis", "subscriber", "--url", url], "is ready"),
        (vec!["play", "pubsub-redis", "subscriber", "--at", at], "is ready"),
        (vec!["status", "--watch", "--url", url], "--join"),
        (
            vec![
                "crack",
                "--over",
                "redis",
                "--max-length",
                "7",
                "--workers",
                "2",
                "--url",
                url,
                "da39a3ee5e6b4b0d3255bfef95601890afd80700",
            ],
            "--join",
        ),
        (vec!["chat", "redis", "--port", "0", "--history", "no", "--url", url], "Ctrl-C ends"),
    ] {
        let mut live = Live::start(&words)?;
        live.until_said(ready).with_context(|| format!("{words:?}"))?;
        let all = arguments_below(live.pid());
        ensure!(all.len() >= 2, "{words:?} has no children: {all:?}");
        for arguments in all {
            ensure!(!arguments.contains(SECRET), "{words:?}: a child was started with `{arguments}`");
        }
        live.signal_group(rustix::process::Signal::INT)?;
        let ran = live.end()?;
        silent_about_it(&ran).with_context(|| format!("{words:?}"))?;
    }
    Ok(())
}

pub(super) fn redis_socket() -> Result<()> {
    let (encoded, plain) = passwords();
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("my redis.sock");
    let _known = by_hand(Broker::Redis, "127.0.0.1", |port, _| {
        let mut arguments = words(&format!("--port {port} --bind 127.0.0.1 --save"));
        arguments.extend(["--requirepass".to_owned(), plain.clone()]);
        arguments.extend(["--unixsocket".to_owned(), socket.display().to_string()]);
        Ok(arguments)
    })?;
    let path = socket.display().to_string().replace(' ', "%20");
    let labs = ["pubsub-redis", "queue-redis", "pubsub-redis-stream"];
    works(Broker::Redis, &format!("redis+unix://{path}?db=3&pass={encoded}"), &labs)?;
    works(Broker::Redis, &format!("unix://{path}?user=default&pass={encoded}"), &labs[..1])?;
    refused(Broker::Redis, &format!("unix://{path}?pass={SECRET}"), "oneway-redis")
}

pub(super) fn mqtt() -> Result<()> {
    let (encoded, plain) = passwords();
    let known = by_hand(Broker::Mqtt, "127.0.0.1", |port, dir| {
        let file = dir.join("known");
        let made =
            Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&file).args(["me", &plain]).status();
        ensure!(
            made.is_ok_and(|status| status.success()),
            "mosquitto_passwd, of Mosquitto's package, failed"
        );
        mosquitto(dir, &format!("listener {port} 127.0.0.1\npassword_file {}\n", file.display()))
    })?;
    let url = |login: &str| format!("tcp://{login}127.0.0.1:{}", known.port);
    works(Broker::Mqtt, &url(&format!("me:{encoded}@")), &["oneway-mqtt", "queue-mqtt"])?;
    refused(Broker::Mqtt, &url(&format!("me:{SECRET}@")), "oneway-mqtt")
}

/// A private node, with a user and a vhost of somebody's own.
struct Node {
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Node {
    fn start() -> Result<Self> {
        let (runtime, dir) = (harness::roles::runtime(0)?, tempfile::tempdir()?);
        let source = broker::find(Broker::RabbitMq, &Default::default())?;
        let options = Options { durable: true, dir: dir.path(), settings: &[] };
        let server = Some(runtime.block_on(Server::start(Broker::RabbitMq, &source, &options))?);
        Ok(Self { server, runtime, _dir: dir })
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("it was stopped")
    }

    /// Runs `rabbitmqctl` in the node's own environment.
    fn control(&self, arguments: &[&str]) -> Result<()> {
        let Source::Program(launcher) = broker::find(Broker::RabbitMq, &Default::default())? else {
            bail!("no program")
        };
        let pid = *self.server()?.pids().context("no pids")?.last().context("no pid")?;
        let mut environment = procfs::process::Process::new(pid as i32)?.environ()?;
        environment.remove(std::ffi::OsStr::new("RABBITMQ_SERVER_START_ARGS"));
        let mut command = Command::new(launcher.with_file_name("rabbitmqctl"));
        let output = command.args(arguments).env_clear().envs(environment).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rabbitmqctl {arguments:?}: {said}");
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => self.runtime.block_on(server.stop()),
            None => Ok(()),
        }
    }
}

pub(super) fn rabbitmq() -> Result<()> {
    let (encoded, plain) = passwords();
    let node = Node::start()?;
    node.control(&["add_user", "me", &plain])?;
    node.control(&["add_vhost", "my vhost"])?;
    node.control(&["set_permissions", "-p", "my vhost", "me", ".*", ".*", ".*"])?;
    let address = node.server()?.address();
    let port = |protocol: &str| anyhow::Ok(address.endpoint(protocol)?.port);
    let (amqp, stomp, mqtt) = (port("amqp")?, port("stomp")?, port("mqtt")?);
    let url =
        |login: &str, path: &str| format!("amqp://{login}@127.0.0.1:{amqp}{path}#stomp={stomp}&mqtt={mqtt}");
    let good = url(&format!("me:{encoded}"), "/my%20vhost?heartbeat=10");
    works(Broker::RabbitMq, &good, &["oneway-rabbitmq", "oneway-stomp", "pubsub-stomp", "reqrep-rabbitmq"])?;
    // MQTT in, AMQP and STOMP out: each leg finds the same vhost.
    let ran = run(&["bridge", "--url", &format!("rabbitmq={good}")])?;
    silent_about_it(&ran)?;
    ran.expect(0)?;
    for (path, said) in [
        ("/", "vhost `` does not exist; leave out the slash or write /%2f"),
        ("/nowhere", "vhost `nowhere` does not exist"),
        ("/%2f", "may not use the vhost"),
    ] {
        let named = format!("rabbitmq={}", url(&format!("me:{encoded}"), path));
        let ran = run(&["doctor", "rabbitmq", "--url", &named])?.expect(1)?;
        silent_about_it(&ran)?;
        ensure!(ran.out.contains(said), "{}", ran.out);
        bench(&named, &["oneway-rabbitmq"], &["--no-floor"])?.expect(1)?.told(&[said])?;
    }
    refused(Broker::RabbitMq, &url(&format!("me:{SECRET}"), "/my%20vhost"), "oneway-rabbitmq")?;
    alarm(&node)?;
    node.stop()
}

fn alarm(node: &Node) -> Result<()> {
    node.control(&["set_vm_memory_high_watermark", "0.00001"])?;
    let named = format!("rabbitmq={}", node.server()?.address().reveal());
    let blocked = "RabbitMQ has blocked publishers: low on memory";
    let ran = run(&["doctor", "rabbitmq", "--url", &named])?.expect(1)?;
    ensure!(ran.out.contains(blocked), "{}", ran.out);
    bench(&named, &["oneway-rabbitmq", "oneway-stomp"], &["--no-floor"])?.expect(1)?.told(&[blocked])?;
    node.control(&["set_vm_memory_high_watermark", "0.6"])?;
    run(&["doctor", "rabbitmq", "--url", &named])?.expect(0).map(drop)
}
