//! nats-server, as a private broker and as the user's own, spoken to line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{self, Options, Server, Source};
use harness::process::runs;
use labs::lab::{Broker, Guarantee};

use super::mqtt::refused;
use super::{empty, listeners, start};
use crate::wait_until;

pub(super) async fn lives() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Nats, true, &dir).await?;
    let Source::Program(program) = broker::find(Broker::Nats, &Default::default())? else {
        bail!("no program")
    };
    let version = broker::version_of(Broker::Nats, &program)?;
    ensure!(server.version() == version, "it says {}, and its program {version}", server.version());
    ensure!(server.guarantee_limit().is_none(), "{:?}", server.guarantee_limit());
    for (name, value) in [("jetstream", "true"), ("max_payload", "8388608"), ("source", "program")] {
        let found = server.settings().get(name).map(String::as_str);
        ensure!(found == Some(value), "{name} is {found:?}, not {value}");
    }
    let pids = server.pids().context("no pids")?;
    listeners(&pids, 1)?;
    server.kill()?;
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived kill");
    server.stop().await?;
    empty(&dir)?;
    let server = start(Broker::Nats, true, &dir).await?;
    let pids = server.pids().context("no pids")?;
    drop(server);
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived its drop");
    empty(&dir)
}

pub(super) async fn restarts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Nats, true, &dir).await?;
    let (url, pids) = (server.address().clone(), server.pids());
    let mut client = Client::connect(&server)?;
    let stream = r#"{"name":"kept","subjects":["kept"],"storage":"file"}"#;
    client.ask("$JS.API.STREAM.CREATE.kept", stream)?;
    let confirmed = client.ask("kept", "body")?;
    ensure!(confirmed.contains("\"seq\":1"), "it is not confirmed: {confirmed}");
    server.restart().await?;
    ensure!(*server.address() == url && server.pids() != pids, "another port, or the same process");
    let info = Client::connect(&server)?.ask("$JS.API.STREAM.INFO.kept", "")?;
    ensure!(info.contains("\"messages\":1,"), "after the restart it says {info}");
    let pid = server.pids().context("no pids")?[0];
    harness::process::signal(pid, rustix::process::Signal::KILL);
    let mut end = None;
    wait_until("the death is noticed", || {
        end = server.died();
        Ok(end.is_some())
    })?;
    let end = end.unwrap_or_default();
    ensure!(end.contains("signal: 9") && end.contains("Server is ready"), "{end}");
    server.stop().await?;
    empty(&dir)
}

pub(super) async fn by_url() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let own = start(Broker::Nats, true, &dir).await?;
    let options = Options { durable: true, dir: dir.path(), settings: &[] };
    let source = Source::Url(own.address().clone());
    let mut server = Server::start(Broker::Nats, &source, &options).await?;
    ensure!(server.guarantee_limit().is_none() && server.pids().is_none(), "not taken for what it is");
    ensure!(server.kill().is_err() && server.pause().is_err(), "the user's own broker can be killed");
    server.stop().await?;
    ensure!(own.pids().is_some_and(|pids| runs(pids[0])), "stop ended the user's own broker");
    let url = own.address().reveal().replace("//", "//me:secret@");
    own.stop().await?;
    let error = refused(Broker::Nats, url, &options).await?;
    ensure!(error.contains("is it running"), "{error}");
    with_login(&dir, &["--user", "me", "--pass", "secret"], "me:secret@", "me:wrong@").await?;
    with_login(&dir, &["--auth", "secret"], "secret@", "wrong@").await
}

/// A server that lets in only who is known, and keeps nothing.
async fn with_login(dir: &tempfile::TempDir, args: &[&str], right: &str, wrong: &str) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let Source::Program(program) = broker::find(Broker::Nats, &Default::default())? else {
        bail!("no program")
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = std::process::Command::new(program);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).args(args);
    command.stderr(std::process::Stdio::null()).process_group(0);
    harness::process::die_with_parent(&mut command);
    let mut server = command.spawn()?;
    let options = Options { durable: false, dir: dir.path(), settings: &[] };
    wait_until("it listens", || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    let url = |login: &str| format!("nats://{login}127.0.0.1:{port}");
    let good = Server::start(Broker::Nats, &super::own(Broker::Nats, &url(right))?, &options).await;
    let mut errors = Vec::new();
    for login in ["", wrong] {
        errors.push(refused(Broker::Nats, url(login), &options).await);
    }
    server.kill()?;
    server.wait()?;
    let (guarantee, reason) = good?.guarantee_limit().context("it has no JetStream, and no limit")?;
    ensure!(guarantee == Guarantee::AtMostOnce && reason.contains("-js"), "{reason}");
    for error in errors {
        let error = error?;
        ensure!(error.contains("refuses the login") && !error.contains("wrong"), "{error}");
    }
    Ok(())
}

/// A client for short texts.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(server: &Server) -> Result<Self> {
        let stream = TcpStream::connect(server.address().reveal().trim_start_matches("nats://"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self(BufReader::new(stream));
        client.0.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\nSUB answers 1\r\n")?;
        Ok(client)
    }

    /// The answer to a request, which is one line.
    fn ask(&mut self, subject: &str, body: &str) -> Result<String> {
        let request = format!("PUB {subject} answers {}\r\n{body}\r\n", body.len());
        self.0.get_mut().write_all(request.as_bytes())?;
        loop {
            let mut line = String::new();
            ensure!(self.0.read_line(&mut line)? > 0, "the server has left");
            if line.starts_with("MSG answers") {
                line.clear();
                self.0.read_line(&mut line)?;
                ensure!(!line.contains("\"error\""), "{subject}: {line}");
                return Ok(line);
            }
        }
    }
}
