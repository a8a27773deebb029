//! A student's program while it runs: its process, its control lines, the end of its log.

use std::cell::RefCell;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc::UnboundedSender;

use super::history::{Fields, What};
use super::limits::Limits;
use super::trouble::Trouble;
use crate::process;

/// The longest control line, bytes.
const LONGEST_LINE: u64 = 64 << 10;
/// Most control lines of one program.
const MOST_LINES: usize = 100_000;
/// The end of its log that is kept, bytes.
const LOG: usize = 8 << 10;
/// Control lines that a program may send.
const KINDS: [&str; 6] = ["ready", "ok", "fail", "info", "recv", "bye"];

/// What is heard from a program.
pub(crate) enum Heard {
    What(What),
    /// It cannot be judged any further.
    Trouble(Trouble),
}

/// Where all that happens in a run arrives.
pub(crate) type Events = UnboundedSender<Heard>;

/// A process of a student's program.
pub(crate) struct Program {
    pub(crate) pid: u32,
    stdin: Option<ChildStdin>,
    log: Rc<RefCell<Vec<u8>>>,
}

/// How to start a program: its words, and the folder that it starts in.
pub(crate) struct Start<'a> {
    pub(crate) words: &'a [String],
    pub(crate) folder: &'a Path,
    pub(crate) limits: &'a Limits,
}

impl Program {
    /// Starts it. What it says arrives in `events` as that of number `number`.
    pub(crate) fn start(start: &Start<'_>, number: usize, events: &Events) -> Result<Self, Trouble> {
        let (word, args) =
            start.words.split_first().ok_or_else(|| Trouble::new("there is no program", "name one"))?;
        let mut command = std::process::Command::new(word);
        command
            .args(args)
            .current_dir(start.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("TMPDIR", start.folder);
        // A missing flush shows here as it does elsewhere.
        command.env_remove("PYTHONUNBUFFERED");
        // What `lab` and cargo keep in their environment is not for the program.
        for (name, _) in std::env::vars_os() {
            let hidden = name
                .to_str()
                .is_none_or(|name| ["LAB_", "CARGO", "RUST"].iter().any(|own| name.starts_with(own)));
            if hidden {
                command.env_remove(name);
            }
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        start.limits.apply(&mut command);
        process::die_with_parent(&mut command);
        let spawned = tokio::process::Command::from(command).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|error| {
            let next = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "check the path, and the first line of a script (`#!/usr/bin/env …`)"
                }
                std::io::ErrorKind::PermissionDenied => "make it executable: chmod +x",
                _ => "start it by hand in a terminal",
            };
            Trouble::new(format!("the program `{word}` does not start: {error}"), next)
        })?;
        let log = Rc::new(RefCell::new(Vec::new()));
        let stdin = child.stdin.take();
        let pid = child.id().unwrap_or(0);
        keep_log(&mut child, log.clone());
        let program = Self { pid, stdin, log };
        tokio::task::spawn_local(listen(child, number, events.clone()));
        Ok(program)
    }

    /// Sends it a control line. A program that reads nothing is found by what it does not say.
    pub(crate) async fn tell(&mut self, kind: &str, fields: &Fields) {
        let mut line = json!({ "type": kind });
        if let Value::Object(object) = &mut line {
            object.extend(fields.clone());
        }
        let Some(stdin) = &mut self.stdin else { return };
        let text = format!("{line}\n");
        let written = tokio::time::timeout(Duration::from_secs(5), stdin.write_all(text.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            self.stdin = None;
        }
    }

    /// The last lines of its log.
    pub(crate) fn log(&self) -> String {
        let log = self.log.borrow();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        labs::printable::printable(&lines[lines.len().saturating_sub(6)..].join(" | ")).to_string()
    }
}

fn keep_log(child: &mut Child, log: Rc<RefCell<Vec<u8>>>) {
    let Some(mut stderr) = child.stderr.take() else { return };
    tokio::task::spawn_local(async move {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = stderr.read(&mut piece).await {
            let mut log = log.borrow_mut();
            log.extend_from_slice(&piece[..length]);
            let extra = log.len().saturating_sub(LOG);
            log.drain(..extra);
        }
    });
}

/// Reads what a program says, until it has ended.
async fn listen(mut child: Child, number: usize, events: Events) {
    if let Some(stdout) = child.stdout.take()
        && let Err(trouble) = read(BufReader::new(stdout), number, &events).await
    {
        let _ = events.send(Heard::Trouble(trouble));
    }
    let how = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let _ = events.send(Heard::What(What::Left { program: number, how }));
}

async fn read(
    mut stdout: BufReader<tokio::process::ChildStdout>,
    number: usize,
    events: &Events,
) -> Result<(), Trouble> {
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        let length = (&mut stdout).take(LONGEST_LINE + 1).read_until(b'\n', &mut line).await.unwrap_or(0);
        if length == 0 {
            return Ok(());
        }
        if length as u64 > LONGEST_LINE {
            return Err(Trouble::new(
                format!("the program has printed a line of more than {} KiB on stdout", LONGEST_LINE >> 10),
                "stdout is for control lines only; print everything else to stderr",
            ));
        }
        let (kind, fields) = parse(&line)?;
        let _ = events.send(Heard::What(What::Said { program: number, kind, fields }));
    }
    Err(Trouble::new(
        format!("the program has printed more than {MOST_LINES} control lines"),
        "look for a loop that reports the same thing again and again",
    ))
}

/// Reads a control line of a program.
pub(crate) fn parse(line: &[u8]) -> Result<(String, Fields), Trouble> {
    let shown = || {
        let text = String::from_utf8_lossy(line);
        let short: String = text.trim_end().chars().take(80).collect();
        labs::printable::printable(&short).to_string()
    };
    let stderr = "stdout is for control lines only: print everything else to stderr \
                  (Python: course.log; Rust: eprintln!; JavaScript: console.error)";
    let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(line) else {
        return Err(Trouble::new(
            format!("the program has printed `{}` on stdout, which is not a JSON object", shown()),
            stderr,
        ));
    };
    let Some(Value::String(kind)) = fields.remove("type") else {
        return Err(Trouble::new(
            format!("the control line `{}` has no \"type\"", shown()),
            format!("the types are {}", KINDS.join(", ")),
        ));
    };
    if !KINDS.contains(&kind.as_str()) {
        let next = match kind.as_str() {
            "effect" => "effects go to the sink, not to stdout: see docs/exercises-protocol.md".to_owned(),
            _ => format!("the types are {}", KINDS.join(", ")),
        };
        return Err(Trouble::new(
            format!(
                "a program does not send control lines of the type `{}`",
                labs::printable::printable(&kind)
            ),
            next,
        ));
    }
    let answers = matches!(kind.as_str(), "ok" | "fail");
    if answers && fields.get("id").and_then(Value::as_u64).is_none() {
        return Err(Trouble::new(
            format!("`{}` has no \"id\"", shown()),
            "an answer has the id of its op: {\"type\":\"ok\",\"id\":1}",
        ));
    }
    if kind == "recv" && fields.get("body").and_then(Value::as_str).is_none() {
        return Err(Trouble::new(
            format!("`{}` has no \"body\"", shown()),
            "say what came: {\"type\":\"recv\",\"body\":\"…\"}",
        ));
    }
    Ok((kind, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_explained() {
        let good = |line: &str| parse(line.as_bytes()).map(|(kind, _)| kind).unwrap_or_default();
        assert_eq!(good("{\"type\":\"ready\"}\n"), "ready");
        assert_eq!(good("{\"id\": 1, \"type\": \"ok\", \"body\": \"ü\"}"), "ok");
        for (line, cause, next) in [
            ("hello", "printed `hello`", "stderr"),
            ("[1]", "not a JSON object", "stderr"),
            ("", "not a JSON object", "stderr"),
            ("{\"kind\":\"ready\"}", "has no \"type\"", "the types are ready"),
            ("{\"type\":7}", "has no \"type\"", "the types are ready"),
            ("{\"type\":\"redy\"}", "of the type `redy`", "the types are ready"),
            ("{\"type\":\"effect\"}", "of the type `effect`", "go to the sink"),
            ("{\"type\":\"ok\"}", "has no \"id\"", "the id of its op"),
            ("{\"type\":\"recv\",\"text\":\"a\"}", "has no \"body\"", "say what came"),
            ("{\"type\":\"fail\",\"id\":\"1\"}", "has no \"id\"", "the id of its op"),
            ("\u{1b}[31mred", "`\\u{1b}[31mred`", "stderr"),
        ] {
            let trouble = parse(line.as_bytes()).expect_err(line);
            assert!(trouble.cause.contains(cause), "{line}: {}", trouble.cause);
            assert!(trouble.next.contains(next), "{line}: {}", trouble.next);
        }
    }

    #[test]
    fn fuzz_exercise_lines() {
        fuzz::Target::new("exercise_lines")
            .seed(b"{\"type\":\"ok\",\"id\":1,\"body\":\"m1-00ff\"}\n")
            .seed("{\"type\":\"recv\",\"topic\":\"a.b\",\"body\":\"\u{fc}\"}")
            .run(|line| match parse(line) {
                Ok((kind, fields)) => {
                    assert!(KINDS.contains(&kind.as_str()) && !fields.contains_key("type"));
                    true
                }
                Err(trouble) => {
                    assert!(!trouble.cause.is_empty() && !trouble.next.is_empty());
                    assert!(!trouble.cause.contains('\u{1b}'), "a terminal would obey {}", trouble.cause);
                    false
                }
            });
    }
}
