//! Private brokers: they start, stay to themselves, survive what they should,
//! and leave nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::broker::{self, Choice, Choices, Options, Server, Source};
use harness::hint;
use labs::lab::{Broker, BrokerAddress};
use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::needs::proof;
use crate::{trial, wait_until};

#[cfg(feature = "embedded-mqtt")]
mod embedded;
mod mqtt;
mod nats;
mod rabbitmq;
mod redis;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs(Broker::Redis, "redis_lives_and_leaves_nothing", redis::lives),
        needs(Broker::Redis, "durable_redis_keeps_data_over_a_restart", redis::restarts),
        needs(Broker::Redis, "redis_pauses_and_resumes", redis::pauses),
        needs(Broker::Redis, "url_is_checked_and_its_guarantee_read", redis::by_url),
        proof(needs(
            Broker::RabbitMq,
            "rabbitmq_pair_keeps_apart_restarts_and_leaves_nothing",
            rabbitmq::pair,
        )),
        needs(Broker::Mqtt, "mosquitto_lives_and_leaves_nothing", mqtt::lives),
        needs(Broker::Mqtt, "mosquitto_keeps_data_over_a_restart", mqtt::restarts),
        needs(Broker::Mqtt, "mosquitto_pauses_and_resumes", || pauses(Broker::Mqtt)),
        needs(Broker::Mqtt, "mqtt_url_is_checked_and_its_guarantee_lowered", mqtt::by_url),
        needs(Broker::Nats, "nats_lives_and_leaves_nothing", nats::lives),
        needs(Broker::Nats, "nats_keeps_data_over_a_restart", nats::restarts),
        needs(Broker::Nats, "nats_pauses_and_resumes", || pauses(Broker::Nats)),
        needs(Broker::Nats, "nats_url_is_checked_and_its_guarantee_read", nats::by_url),
        #[cfg(feature = "embedded-mqtt")]
        trial("brokers::embedded_mqtt_lives_and_leaves_nothing", || block_on(embedded::lives())),
        #[cfg(feature = "embedded-mqtt")]
        trial("brokers::embedded_mqtt_is_labelled", embedded::is_labelled),
        trial("brokers::another_program_at_the_port_is_not_ours", another),
        trial("brokers::wheel_is_found_and_refused_when_damaged", wheel),
        trial("brokers::failed_start_shows_the_log", failed_start),
        crate::needs::needs(Broker::Redis, "brokers::taken_port_leads_to_another", taken_port),
        trial("brokers::missing_names_the_one_command", missing),
    ]
}

fn needs<F>(broker: Broker, name: &str, test: fn() -> F) -> Trial
where
    F: Future<Output = Result<()>> + 'static,
{
    crate::needs::needs(broker, &format!("brokers::{name}"), move || block_on(test()))
}

fn block_on(test: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}

async fn start(broker: Broker, durable: bool, dir: &TempDir) -> Result<Server> {
    let source = broker::find(broker, &BTreeMap::new())?;
    Server::start(broker, &source, &Options { durable, dir: dir.path(), settings: &[] }).await
}

/// Nothing but loopback addresses listen, and something does.
fn listeners(pids: &[u32], at_least: usize) -> Result<()> {
    let mut sockets = std::collections::BTreeSet::new();
    for &pid in pids {
        for fd in procfs::process::Process::new(pid as i32)?.fd()?.flatten() {
            if let procfs::process::FDTarget::Socket(inode) = fd.target {
                sockets.insert(inode);
            }
        }
    }
    let entries = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6()?);
    let listening: Vec<_> = entries
        .filter(|entry| entry.state == procfs::net::TcpState::Listen && sockets.contains(&entry.inode))
        .map(|entry| entry.local_address)
        .collect();
    ensure!(listening.len() >= at_least, "only {listening:?} listen");
    ensure!(listening.iter().all(|address| address.ip().is_loopback()), "{listening:?} listen");
    Ok(())
}

fn empty(dir: &TempDir) -> Result<()> {
    let left: Vec<_> = fs::read_dir(dir.path())?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// Paused, it answers nobody; it goes on as if nothing had been, and can be
/// stopped while it is paused.
async fn pauses(broker: Broker) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(broker, false, &dir).await?;
    let pid = server.pids().context("no pids")?[0];
    let state = || Ok::<_, anyhow::Error>(procfs::process::Process::new(pid as i32)?.stat()?.state);
    let again = Source::Url(server.address().clone());
    let options = Options { durable: false, dir: dir.path(), settings: &[] };
    server.pause()?;
    wait_until("it stands still", || Ok(state()? == 'T'))?;
    let asked = Server::start(broker, &again, &options);
    let early = tokio::time::timeout(Duration::from_millis(300), asked).await;
    ensure!(early.is_err(), "it answers although it is paused");
    server.resume()?;
    wait_until("it goes on", || Ok(state()? != 'T'))?;
    Server::start(broker, &again, &options).await?.stop().await?;
    server.pause()?;
    server.stop().await?;
    empty(&dir)
}

/// The user's own broker at this address.
fn own(broker: Broker, url: &str) -> Result<Source> {
    Ok(Source::Url(BrokerAddress::parse(broker, url)?))
}

fn script(program: &Path, text: &str) -> Result<()> {
    fs::write(program, format!("#!/bin/sh\n{text}\n"))?;
    Ok(fs::set_permissions(program, fs::Permissions::from_mode(0o755))?)
}

/// A `redis-server` of our own making, found through PATH.
fn fake(dir: &Path, script: &str) -> Result<Source> {
    self::script(&dir.join("redis-server"), script)?;
    Ok(broker::find_on(Broker::Redis, &BTreeMap::new(), &OsString::from(dir))?)
}

fn failed_start() -> Result<()> {
    let (bin, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let source = fake(bin.path(), "echo 'no such luck' >&2; exit 1")?;
    block_on(async {
        match Server::start(
            Broker::Redis,
            &source,
            &Options { durable: false, dir: dir.path(), settings: &[] },
        )
        .await
        {
            Ok(_) => bail!("a program that ends at once was taken for a broker"),
            Err(error) => {
                let text = format!("{error:#}");
                for part in ["no such luck", "exit status: 1", &hint::command(&["doctor", "--install"])] {
                    ensure!(text.contains(part), "{part:?} is not in: {text}");
                }
                Ok(())
            }
        }
    })?;
    empty(&dir)
}

fn taken_port() -> Result<()> {
    let real = match broker::find(Broker::Redis, &BTreeMap::new())? {
        Source::Program(real) | Source::Wheel(real) => real,
        other => bail!("a Redis that is not a program: {other:?}"),
    };
    let (bin, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let taken = listener.local_addr()?.port();
    // The first time the port that was chosen is replaced by one that is taken.
    let mark = bin.path().join("tried");
    let script = format!(
        "mark='{}'\n[ -e \"$mark\" ] && exec {real} \"$@\"\n: >\"$mark\"\nexec {real} \"$@\" --port {taken}",
        mark.display(),
        real = real.display()
    );
    let source = fake(bin.path(), &script)?;
    block_on(async {
        let server = Server::start(
            Broker::Redis,
            &source,
            &Options { durable: false, dir: dir.path(), settings: &[] },
        )
        .await?;
        ensure!(mark.exists(), "the first attempt was not made");
        let _: String = ::redis::cmd("PING").query_async(&mut redis::client(&server).await?).await?;
        server.stop().await
    })?;
    empty(&dir)
}

/// A broker may come too late to its port. Whoever sits there answers in its
/// place, and is not taken for it.
fn another() -> Result<()> {
    let (bin, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (program, note) = (bin.path().join("mosquitto"), bin.path().join("port"));
    let port = format!(
        "sed -n 's/^listener \\([0-9]*\\) .*/\\1/p' \"$2\" >'{0}.new'\nmv '{0}.new' '{0}'",
        note.display()
    );
    script(&program, &format!("{port}\nsleep 1\nexit 3"))?;
    // Somebody else at the port, who says yes to everybody.
    let somebody = std::thread::spawn(move || -> Result<usize> {
        wait_until("the port is known", || Ok(note.exists()))?;
        let port: u16 = fs::read_to_string(&note)?.trim().parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let (end, mut clients) = (std::time::Instant::now() + Duration::from_secs(3), 0);
        while std::time::Instant::now() < end {
            if let Ok((mut client, _)) = listener.accept() {
                let _ = std::io::Write::write_all(&mut client, &[0x20, 2, 0, 0]);
                clients += 1;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(clients)
    });
    let options = Options { durable: false, dir: dir.path(), settings: &[] };
    let source = Source::Program(program);
    let begun = block_on(async { Server::start(Broker::Mqtt, &source, &options).await.map(drop) });
    let clients = somebody.join().map_err(|_| anyhow::anyhow!("somebody else panicked"))??;
    ensure!(clients > 0, "nobody came to the port: the test tests nothing");
    let error = format!("{:#}", begun.err().context("another program was taken for our broker")?);
    ensure!(error.contains("exit status: 3"), "{error}");
    empty(&dir)
}

/// `--wheels` looks for what was unpacked into the user's cache, and nowhere else.
fn wheel() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let doctor = || -> Result<(bool, serde_json::Value)> {
        let mut command = crate::lab(&["doctor", "nats", "--wheels", "--json"]);
        let output = command.env("XDG_CACHE_HOME", cache.path()).output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        ensure!(said["brokers"].as_array().map(Vec::len) == Some(1), "other brokers are looked at: {said}");
        Ok((output.status.success(), said["brokers"][0].clone()))
    };
    let (good, said) = doctor()?;
    let problem = |said: &serde_json::Value, words: &str| {
        let (problem, remedy) = (said["problem"].as_str(), said["remedy"].as_str());
        ensure!(problem.is_some_and(|problem| problem.contains(words)), "`{words}` is not in: {said}");
        ensure!(remedy == Some("lab doctor --install --wheels nats"), "{said}");
        Ok(())
    };
    ensure!(!good, "nothing is there: {said}");
    problem(&said, "is not installed yet")?;

    let wheel = broker::Wheel::of(Broker::Nats).context("no wheel")?;
    let folder = cache.path().join(format!("messaging-lab/{}-{}", wheel.project, wheel.version));
    fs::create_dir_all(&folder)?;
    let program = folder.join(wheel.program);
    script(&program, "echo 'nats-server: v9.9.9'")?;
    let sum = sha2::Digest::finalize(sha2::Digest::chain_update(
        <sha2::Sha256 as sha2::Digest>::new(),
        fs::read(&program)?,
    ));
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(folder.join("nats-server.sha256"), format!("{sum}  nats-server\n"))?;
    let (good, said) = doctor()?;
    ensure!(good && said["source"] == "wheel" && said["version"] == "9.9.9", "{said}");

    script(&program, "echo 'nats-server: v9.9.8'")?;
    let (good, said) = doctor()?;
    ensure!(!good, "a damaged program is taken: {said}");
    problem(&said, "nats-server is damaged")
}

fn missing() -> Result<()> {
    let choice = Choice::parse(Broker::Redis, "redis://127.0.0.1:1")?;
    let nobody = Choices::from([(Broker::Redis, choice)]);
    let source = broker::find_on(Broker::Redis, &nobody, &OsString::new())?;
    ensure!(matches!(&source, Source::Url(own) if own.to_string() == "redis://127.0.0.1:1"), "{source:?}");
    let missing = broker::Missing {
        broker: Broker::RabbitMq,
        reason: "it is nowhere".to_owned(),
        remedy: "just brokers".to_owned(),
    };
    ensure!(missing.to_string() == "rabbitmq is missing: it is nowhere; run `just brokers`", "{missing}");
    Ok(())
}
