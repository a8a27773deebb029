//! Starts roles: each in a thread of this process, or in a process of its own.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use labs::lab::Registry;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

use super::heard::Heard;
use crate::process;
use crate::roles::protocol::{Init, ToRole};
use crate::roles::{Handle, Outbox};

/// Lines of a role's stderr that are kept, for when it dies.
const LAST_WORDS: usize = 12;

/// A role as a thread of this process, with a runtime of its own.
pub(super) fn thread(
    handle: &Handle,
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    number: usize,
    mouth: mpsc::UnboundedSender<(usize, Heard)>,
    registry: Arc<Registry>,
) -> Result<()> {
    let (run, name, said) = (handle.run, init.role(), mouth.clone());
    let outbox: Outbox = Arc::new(move |line| drop(said.send((number, Heard::Line(line)))));
    let play = move || {
        // What goes wrong has been said through the outbox; a panic has not.
        let done =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(init, inbox, outbox, registry)));
        let why = done.is_err().then(|| "it panicked; its message is on stderr".to_owned());
        drop(mouth.send((number, Heard::Left(why))));
    };
    std::thread::Builder::new().name(name).spawn(play).context("cannot start a thread for a role")?;
    Ok(())
}

/// A role as a process: this program again.
pub(super) fn spawn(
    init: Init,
    mut inbox: mpsc::UnboundedReceiver<ToRole>,
    number: usize,
    mouth: mpsc::UnboundedSender<(usize, Heard)>,
    cpu: Option<usize>,
) -> Result<u32> {
    let mut command = std::process::Command::new(process::this_program());
    // The name is for those who look with `ps`; the role learns it from its first line.
    command
        .args(["role", "--name", &init.role()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cpu) = cpu {
        command.arg("--cpu").arg(cpu.to_string());
    }
    process::die_with_parent(&mut command);
    // Ctrl-C is for the supervisor, who then dismisses the roles.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(|error| {
        let few = error.raw_os_error() == Some(libc::EMFILE);
        let hint = if few { "; raise `ulimit -n`, or run fewer roles" } else { "" };
        anyhow!("cannot start a process for {}: {error}{hint}", init.role())
    })?;
    let pid = child.id().context("the role's process ended immediately")?;
    let mut input = child.stdin.take().context("no stdin")?;
    tokio::spawn(async move {
        let mut line = ToRole::Init(Box::new(init));
        while let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // The reader of its output notices when a role has ended.
            if input.write_all(&text).await.is_err() {
                break;
            }
            match inbox.recv().await {
                Some(next) => line = next,
                None => break,
            }
        }
    });
    tokio::spawn(attend(child, number, mouth));
    Ok(pid)
}

/// Hears a process out, then says how it left.
async fn attend(mut child: Child, number: usize, mouth: mpsc::UnboundedSender<(usize, Heard)>) {
    let last_words: Arc<Mutex<VecDeque<String>>> = Arc::default();
    let errors = child.stderr.take().map(|stderr| {
        let last_words = Arc::clone(&last_words);
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
                if words.len() == LAST_WORDS {
                    words.pop_front();
                }
                words.push_back(line);
            }
        })
    });
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(line) = serde_json::from_str(&line) {
                drop(mouth.send((number, Heard::Line(line))));
            }
        }
    }
    let status = child.wait().await;
    if let Some(errors) = errors {
        let _ = errors.await;
    }
    let why = status.map_or_else(|error| Some(error.to_string()), |status| how(status, &last_words));
    drop(mouth.send((number, Heard::Left(why))));
}

fn how(status: ExitStatus, last_words: &Mutex<VecDeque<String>>) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    if status.success() {
        return None;
    }
    let mut why = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by {}", process::signals::name(signal)),
        (None, None) => status.to_string(),
    };
    let words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
    if !words.is_empty() {
        why.push_str("; its last output:");
        words.iter().for_each(|line| why.push_str(&format!("\n    {line}")));
    }
    Some(why)
}
