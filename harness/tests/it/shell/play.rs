//! `lab play` with its standard input from a pipe: bytes that are not text, and a consumer
//! that is told what to type.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::{lab, trial};

/// Only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("shell::play_sends_bytes_as_they_are", bytes),
        trial("shell::play_acknowledges_nothing_but_by_ack", only_ack),
        trial("shell::play_reads_no_further_than_it_sends", bounded),
    ]
}

/// A role that is played by hand.
struct Player {
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
}

impl Player {
    fn start(args: &[&str]) -> Result<(Self, BufReader<ChildStdout>)> {
        Self::start_with(args, Path::new("/nonexistent"))
    }

    /// With a folder for what outlives it.
    fn start_with(args: &[&str], state: &Path) -> Result<(Self, BufReader<ChildStdout>)> {
        let mut command: Command = lab(&[&["play"], args].concat());
        command.env("XDG_STATE_HOME", state);
        super::default_signals(&mut command);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
        let (tell, said) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let input = child.stdin.take();
        Ok((Self { child, input, said }, output))
    }

    /// Waits for a line with these words.
    fn until(&self, words: &str) -> Result<String> {
        loop {
            let line = self.said.recv_timeout(PATIENCE).with_context(|| format!("`{words}` was not said"))?;
            if line.contains(words) {
                return Ok(line);
            }
        }
    }

    /// The address that it shows for the other terminal.
    fn address(&self) -> Result<String> {
        let line = self.until("in another terminal")?;
        Ok(line.rsplit_once("--at ").context("no address")?.1.to_owned())
    }

    fn types(&mut self, line: &[u8]) -> Result<()> {
        let input = self.input.as_mut().context("its input has ended")?;
        input.write_all(line)?;
        Ok(input.flush()?)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes() -> Result<()> {
    let (receiver, mut received) = Player::start(&["oneway-tcp", "receiver"])?;
    let (mut sender, _) = Player::start(&["oneway-tcp", "sender", "--at", &receiver.address()?])?;
    sender.types(b"one\ncaf\xe9\n\xff\x00\xfe\nthree")?;
    sender.input = None;
    for expected in [&b"one\n"[..], b"caf\xe9\n", b"\xff\x00\xfe\n", b"three\n"] {
        let mut line = Vec::new();
        received.read_until(b'\n', &mut line)?;
        ensure!(line == expected, "{line:?} came, and not {expected:?}");
    }
    ensure!(sender.child.wait()?.success());
    Ok(())
}

fn only_ack() -> Result<()> {
    let state = tempfile::tempdir()?;
    let (mut producer, _) = Player::start_with(&["queue-tcp", "producer"], state.path())?;
    let at = producer.address()?;
    let (mut consumer, mut received) = Player::start(&["queue-tcp", "consumer", "--at", &at])?;
    producer.types(b"work\n")?;
    let mut line = String::new();
    received.read_line(&mut line)?;
    ensure!(line == "work\n", "{line:?}");
    for words in ["", "what?", "no", "ACK"] {
        consumer.types(format!("{words}\n").as_bytes())?;
        consumer.until("type `ack`")?;
    }
    consumer.types(b"nak\n")?;
    consumer.until("nacked")?;
    line.clear();
    received.read_line(&mut line)?;
    ensure!(line == "work (again)\n", "it was not given back: {line:?}");
    consumer.types(b"ack\n")?;
    consumer.until("acked")?;
    Ok(())
}

/// The input is longer than what may wait, and the receiver takes nothing.
fn bounded() -> Result<()> {
    use rustix::process::Signal;
    let (receiver, _received) = Player::start(&["oneway-tcp", "receiver"])?;
    let at = receiver.address()?;
    let (mut sender, _) = Player::start(&["oneway-tcp", "sender", "--at", &at])?;
    sender.until("is ready")?;
    let still = harness::process::tree(&[receiver.child.id()]);
    still.iter().for_each(|&pid| harness::process::signal(pid, Signal::STOP));
    let mut input = sender.input.take().context("no stdin")?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let line = [&vec![b'x'; 65_535][..], b"\n"].concat();
        // 1 GiB, if anybody takes it.
        (0..16_384).all(|_| input.write_all(&line).is_ok() && tell.send(line.len()).is_ok())
    });
    // It takes lines until so many are under way, and then none for a while.
    let mut taken = 0;
    while let Ok(more) = told.recv_timeout(Duration::from_secs(3)) {
        taken += more;
        ensure!(taken < 128 << 20, "it has read {taken} bytes that nobody takes");
    }
    ensure!(taken > 0, "it has read nothing");
    still.iter().for_each(|&pid| harness::process::signal(pid, Signal::CONT));
    Ok(())
}
