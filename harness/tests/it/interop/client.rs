//! A script that runs, and the lines that go to and fro.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::needs::python;

/// A topic, `-` where there is none, and a body.
pub(super) type Message = (String, Bytes);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A script of this folder, to be given arguments.
pub(super) fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg(root().join("harness/tests/it/interop").join(name));
    command
}

/// A client that runs.
pub(super) struct Client {
    script: String,
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
}

impl Client {
    pub(super) fn start(script: &str, args: &[&str]) -> Result<Self> {
        let program = if script.ends_with(".py") { python() } else { PathBuf::from("bash") };
        let mut command = tokio::process::Command::new(program);
        command
            .arg(root().join("harness/tests/it/interop").join(script))
            .args(args)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {script}"))?;
        let out = child.stdout.take().context("no pipe")?;
        Ok(Self { script: script.to_owned(), child, out: BufReader::new(out).lines() })
    }

    /// Messages to send; there are no more after these.
    pub(super) async fn give(&mut self, messages: &[Message]) -> Result<()> {
        let mut pipe = self.child.stdin.take().context("given already")?;
        for (topic, body) in messages {
            let line = format!("{topic} {}\n", BASE64_STANDARD.encode(body));
            pipe.write_all(line.as_bytes()).await.context("the client has left")?;
        }
        Ok(())
    }

    /// What it says next. Cancel-safe.
    pub(super) async fn line(&mut self) -> Result<String> {
        match self.out.next_line().await? {
            Some(line) => Ok(line),
            None => {
                let (status, said) = (self.child.wait().await?, self.complaint().await);
                anyhow::bail!("{} ended with {status} and says no more\n{said}", self.script)
            }
        }
    }

    /// The next messages that it has received; probes are left out, and the
    /// word that it is ready: what waits in a queue may come before it.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let line = self.line().await?;
            if line == "ready" {
                continue;
            }
            let (topic, body) = line.split_once(' ').context("a line without a body")?;
            if topic != "probe" {
                let body = BASE64_STANDARD.decode(body).with_context(|| format!("{line:?} is no message"))?;
                messages.push((topic.to_owned(), Bytes::from(body)));
            }
        }
        Ok(messages)
    }

    /// Waits for its end, which has to be a good one.
    pub(super) async fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let said = self.complaint().await;
        let status = self.child.wait().await?;
        ensure!(status.success(), "{} ended with {status}\n{said}", self.script);
        Ok(())
    }

    async fn complaint(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            let _ = pipe.read_to_string(&mut said).await;
        }
        said
    }
}
