//! A role in a process of its own, which talks over stdin and stdout.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::baseline;
use super::handle::{Handle, Outbox};
use super::protocol::{FromRole, ToRole};
use crate::measure::clock;

/// Runs the role that the first line of stdin asks for; for a process of its own.
pub fn main(handles: &[Handle]) -> Result<()> {
    use std::io::{BufRead as _, Write as _};
    let (lines, inbox) = mpsc::unbounded_channel();
    let mut input = std::io::stdin().lock().lines();
    let first = input.next().context("no init line came")??;
    let ToRole::Init(init) = serde_json::from_str(&first).context("the first line is not an init line")?
    else {
        anyhow::bail!("the first line must be an init line");
    };
    let baselines = baseline::handles();
    let handle = handles
        .iter()
        .chain(&baselines)
        .find(|handle| handle.entry.name == init.lab)
        .with_context(|| format!("there is no lab `{}`", init.lab))?;
    drop(input);
    clock::set_ahead(init.clock_ahead_ns);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(line) => drop(lines.send(line)),
                Err(error) => errln!("not a control line: {error}: {line}"),
            }
        }
        // The supervisor has ended, so the role ends, too.
        drop(lines);
        std::thread::sleep(std::time::Duration::from_secs(2));
        std::process::exit(1);
    });
    let outbox: Outbox = Arc::new(|line: FromRole| {
        let Ok(mut text) = serde_json::to_string(&line) else { return };
        text.push('\n');
        let mut out = std::io::stdout().lock();
        // Nobody listens any more: the reader thread will see the same and end us.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
    (handle.run)(*init, inbox, outbox, Arc::default())
}
