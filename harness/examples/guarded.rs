//! A program under guard that does what the guard's tests need: it starts a
//! child that leaves its family (`setsid`, twice removed), tells the numbers of
//! all involved on standard output, and waits, or ends as it is told.
//!
//! `guarded wait` | `guarded exit CODE` | `guarded abort` | `guarded time`

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    harness::process::guard::enter()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mode = args.first().map(String::as_str).unwrap_or("wait");
    if mode == "time" {
        return Ok(());
    }
    let dir = harness::process::guard::session_dir();
    let pid = dir.join("escaped");
    Command::new("sh")
        .arg("-c")
        .arg("(setsid sh -c 'echo $$ > \"$0.new\" && mv \"$0.new\" \"$0\" && exec sleep 1000' \"$0\" &) &")
        .arg(&pid)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot run sh")?;
    while !pid.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let escaped = std::fs::read_to_string(&pid)?;
    println!(
        "{} {} {} {}",
        harness::process::guard::session_root(),
        std::process::id(),
        escaped.trim(),
        dir.display()
    );
    match (mode, args.get(1)) {
        ("exit", code) => std::process::exit(code.and_then(|code| code.parse().ok()).unwrap_or(0)),
        ("abort", _) => std::process::abort(),
        _ => loop {
            std::thread::park();
        },
    }
}
