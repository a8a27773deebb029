//! Mosquitto, as a private broker and as the user's own, spoken to byte by byte.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use harness::broker::{Options, Server, Source};
use harness::process::runs;
use labs::lab::{Broker, Guarantee};

use super::{empty, listeners, start};
use crate::wait_until;

pub(super) async fn lives() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Mqtt, true, &dir).await?;
    ensure!(server.version().starts_with(|first: char| first.is_ascii_digit()), "{}", server.version());
    ensure!(server.guarantee_limit().is_none(), "{:?}", server.guarantee_limit());
    for (name, value) in [("persistence", "true"), ("max_queued_messages", "0"), ("source", "program")] {
        let found = server.settings().get(name).map(String::as_str);
        ensure!(found == Some(value), "{name} is {found:?}, not {value}");
    }
    let pids = server.pids().context("no pids")?;
    listeners(&pids, 1)?;
    Client::connect(&server, "one")?;
    server.kill()?;
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived kill");
    ensure!(Client::connect(&server, "one").is_err(), "a dead broker answers");
    server.stop().await?;
    empty(&dir)?;
    let server = start(Broker::Mqtt, true, &dir).await?;
    let pids = server.pids().context("no pids")?;
    drop(server);
    ensure!(!pids.iter().any(|&pid| runs(pid)), "it survived its drop");
    empty(&dir)
}

pub(super) async fn restarts() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut server = start(Broker::Mqtt, true, &dir).await?;
    let (url, pids) = (server.address().clone(), server.pids());
    Client::connect(&server, "one")?.publish_retained("kept", "what is kept")?;
    // Mosquitto saves shortly after it has confirmed.
    wait_until("it is saved", || Ok(saved(&dir, "what is kept")))?;
    server.restart().await?;
    ensure!(*server.address() == url && server.pids() != pids, "another port, or the same process");
    let kept = Client::connect(&server, "one")?.retained("kept")?;
    ensure!(kept.contains("what is kept"), "after the restart it says {kept:?}");
    let pid = server.pids().context("no pids")?[0];
    harness::process::signal(pid, rustix::process::Signal::KILL);
    let mut end = None;
    wait_until("the death is noticed", || {
        end = server.died();
        Ok(end.is_some())
    })?;
    let end = end.unwrap_or_default();
    ensure!(end.contains("signal: 9") && end.contains("mosquitto version"), "{end}");
    server.stop().await?;
    empty(&dir)
}

fn saved(dir: &tempfile::TempDir, text: &str) -> bool {
    let folders = std::fs::read_dir(dir.path()).into_iter().flatten().flatten();
    let mut files = folders.filter_map(|folder| std::fs::read(folder.path().join("mosquitto.db")).ok());
    files.any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

pub(super) async fn by_url() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let own = start(Broker::Mqtt, true, &dir).await?;
    let options = Options { durable: true, dir: dir.path(), settings: &[] };
    // Anonymous clients are let in there, and so is anybody with a name.
    for url in [own.address().reveal().to_owned(), own.address().reveal().replace("//", "//me:secret@")] {
        let mut server = Server::start(Broker::Mqtt, &super::own(Broker::Mqtt, &url)?, &options).await?;
        ensure!(server.version() == own.version(), "{} is not {}", server.version(), own.version());
        let (guarantee, reason) = server.guarantee_limit().context("its guarantee is not lowered")?;
        ensure!(guarantee == Guarantee::AtLeastOnce && reason.contains("persistence"), "{reason}");
        ensure!(server.pids().is_none() && server.kill().is_err(), "the user's own broker can be killed");
        server.stop().await?;
    }
    ensure!(own.pids().is_some_and(|pids| runs(pids[0])), "stop ended the user's own broker");
    let url = own.address().reveal().replace("//", "//me:secret@");
    own.stop().await?;
    let error = refused(Broker::Mqtt, url, &options).await?;
    ensure!(error.contains("is one running there"), "{error}");
    with_login(&dir).await
}

/// A broker that lets in only who is known.
async fn with_login(dir: &tempfile::TempDir) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let Source::Program(program) = harness::broker::find(Broker::Mqtt, &Default::default())? else {
        bail!("no program")
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (config, known) = (dir.path().join("own.conf"), dir.path().join("known"));
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&known)
        .args(["me", "secret"])
        .status();
    ensure!(made.is_ok_and(|status| status.success()), "mosquitto_passwd, of Mosquitto's package, failed");
    let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
    let file = known.display();
    std::fs::write(&config, format!("listener {port} 127.0.0.1\npassword_file {file}\n{user}"))?;
    let mut command = std::process::Command::new(program);
    command.arg("-c").arg(&config).stderr(std::process::Stdio::null()).process_group(0);
    harness::process::die_with_parent(&mut command);
    let mut broker = command.spawn()?;
    let options = Options { durable: false, dir: dir.path(), settings: &[] };
    wait_until("it listens", || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))?;
    let right = super::own(Broker::Mqtt, &format!("mqtt://me:secret@127.0.0.1:{port}"))?;
    let right = Server::start(Broker::Mqtt, &right, &options).await;
    let mut errors = Vec::new();
    for login in ["", "me:wrong@"] {
        errors.push(refused(Broker::Mqtt, format!("mqtt://{login}127.0.0.1:{port}"), &options).await);
    }
    broker.kill()?;
    broker.wait()?;
    right.context("the right password is refused")?;
    for error in errors {
        let error = error?;
        ensure!(error.contains("refuses the login") && !error.contains("wrong"), "{error}");
    }
    Ok(())
}

/// The error of a start that has to fail, which may hold no password.
pub(super) async fn refused(broker: Broker, url: String, options: &Options<'_>) -> Result<String> {
    match Server::start(broker, &super::own(broker, &url)?, options).await {
        Ok(_) => bail!("{url} was taken for a broker"),
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(!error.contains("secret"), "the password is shown: {error}");
            Ok(error)
        }
    }
}

/// A client of MQTT 3.1.1 for short texts.
pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn connect(server: &Server, id: &str) -> Result<Self> {
        let address = server.address().reveal().trim_start_matches("mqtt://");
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self(stream);
        client.send(0x10, &[&b"\x00\x04MQTT\x04\x02\x00\x3c"[..], &sized(id)].concat())?;
        client.expect(&[0x20, 2, 0, 0])?;
        Ok(client)
    }

    pub(super) fn publish_retained(&mut self, topic: &str, body: &str) -> Result<()> {
        self.send(0x33, &[&sized(topic)[..], &[0, 1], body.as_bytes()].concat())?;
        self.expect(&[0x40, 2, 0, 1])
    }

    /// What comes when this topic is subscribed to: first the broker's word for
    /// it, then what it has retained.
    pub(super) fn retained(&mut self, topic: &str) -> Result<String> {
        self.send(0x82, &[&[0, 2][..], &sized(topic), &[1]].concat())?;
        let mut all = Vec::new();
        let mut buffer = [0; 256];
        while !all.windows(topic.len()).any(|part| part == topic.as_bytes()) {
            let read = self.0.read(&mut buffer).context("nothing is retained")?;
            ensure!(read > 0, "the broker has left");
            all.extend_from_slice(&buffer[..read]);
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let length = u8::try_from(body.len())?;
        ensure!(length < 128, "a longer text needs a longer length");
        Ok(self.0.write_all(&[&[kind, length][..], body].concat())?)
    }

    fn expect(&mut self, answer: &[u8]) -> Result<()> {
        let mut found = vec![0; answer.len()];
        self.0.read_exact(&mut found)?;
        ensure!(found == answer, "it answers {found:x?}, not {answer:x?}");
        Ok(())
    }
}

fn sized(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}
