//! Roles started over ssh: a private server on loopback, with keys made for the test.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::{trials_of, unharmed};
use crate::program::{bench, text};
use crate::wait_until;

/// Several processes may look for a free port at the same time.
const ATTEMPTS: usize = 5;

/// Where Debian has it, which is not on everybody's PATH.
pub(crate) const SERVER: &str = "/usr/sbin/sshd";

struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for key in ["host", "user"] {
            let path = dir.path().join(key);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
                .arg(&path)
                .stdin(Stdio::null())
                .status()?;
            ensure!(made.success(), "ssh-keygen: {made}");
        }
        let path = |name: &str| dir.path().join(name);
        fs::copy(path("user.pub"), path("authorized"))?;
        fs::set_permissions(path("authorized"), Permissions::from_mode(0o600))?;
        for _ in 0..ATTEMPTS {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let log = fs::File::create(path("log"))?;
            let mut child = Command::new(SERVER)
                .args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string(), "-h"])
                .arg(path("host"))
                .args(options(&path("authorized")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            let mut ended = false;
            wait_until("the SSH server listens, or has ended", || {
                ended = child.try_wait()?.is_some();
                Ok(ended || TcpStream::connect(("127.0.0.1", port)).is_ok())
            })?;
            if !ended {
                let known = format!("[127.0.0.1]:{port} {}", fs::read_to_string(path("host.pub"))?);
                fs::write(path("known"), known)?;
                return Ok(Self { child, port, dir });
            }
            let said = fs::read_to_string(path("log"))?;
            ensure!(said.contains("in use"), "the SSH server ended: {said}");
        }
        bail!("no port was free in {ATTEMPTS} attempts")
    }

    /// What stands in front of a command that runs over it.
    fn prefix(&self) -> Result<String> {
        let path = |name: &str| -> Result<String> { text(&self.dir.path().join(name)).map(str::to_owned) };
        Ok(format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={} -p {} 127.0.0.1",
            path("user")?,
            path("known")?,
            self.port
        ))
    }
}

fn options(authorized: &Path) -> Vec<String> {
    let file: PathBuf = authorized.to_owned();
    [
        "ListenAddress=127.0.0.1".to_owned(),
        format!("AuthorizedKeysFile={}", file.display()),
        "PasswordAuthentication=no".to_owned(),
        "KbdInteractiveAuthentication=no".to_owned(),
        "PermitRootLogin=prohibit-password".to_owned(),
        // The key lies in a folder for temporary files.
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PidFile=none".to_owned(),
        // Roles of several kinds join at the same time.
        "MaxStartups=100".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

/// Peers and brokers, with a role at the other end of a connection over ssh: nothing is lost.
pub(super) fn over_ssh() -> Result<()> {
    let server = Server::start()?;
    let dir = tempfile::tempdir()?;
    let prefix = server.prefix()?;
    let launches: Vec<String> =
        ["receiver", "responder", "subscriber", "consumer"].map(|role| format!("{role}={prefix}")).into();
    let mut words = vec!["oneway-tcp", "reqrep-tcp", "pubsub-nats", "queue-redis"];
    words.extend(launches.iter().flat_map(|launch| ["--launch", launch]));
    words.extend(["--load", "500,max", "--trials", "1", "--seconds", "0.5", "--no-floor"]);
    bench(&words, dir.path())?
        .expect(0)
        .with_context(|| fs::read_to_string(server.dir.path().join("log")).unwrap_or_default())?;
    let trials = trials_of(dir.path())?;
    ensure!(trials.len() == 8, "{} trials", trials.len());
    trials.iter().try_for_each(unharmed)?;
    let report = fs::read_to_string(dir.path().join("report.html"))?;
    ensure!(report.contains("Where the roles ran"), "the report draws no hosts");
    Ok(())
}

/// A key that the server does not know: the trial fails, with what ssh said.
pub(super) fn another_key() -> Result<()> {
    let server = Server::start()?;
    let dir = tempfile::tempdir()?;
    fs::write(server.dir.path().join("authorized"), "")?;
    let launch = format!("receiver={}", server.prefix()?);
    let words = ["oneway-tcp", "--launch", &launch, "--load", "500", "--trials", "1", "--seconds", "0.5"];
    let ran = bench(&[&words[..], &["--no-floor"]].concat(), dir.path())?.expect(1)?;
    let told = format!("{}{}", ran.out, ran.err);
    ensure!(told.contains("Permission denied"), "{told}");
    Ok(())
}
