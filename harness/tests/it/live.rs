//! What `lab bench` shows while it measures: live lines on a terminal, which
//! are gone afterwards, and plain ones elsewhere.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::needs::{Need, needs};
use crate::program::{run, text};
use crate::trial;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let on_terminal = |name, test: fn() -> Result<()>| needs(Need::Program("script", "bsdutils"), name, test);
    vec![
        on_terminal("live::a_terminal_shows_rates_and_what_is_left", shows),
        on_terminal("live::ctrl_c_leaves_the_terminal_clean", interrupted),
        trial("live::lines_are_plain_without_a_terminal", plain),
    ]
}

const COLUMNS: usize = 80;
/// Only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(180);

/// `lab bench` on a pseudo terminal of its own, which `script` (util-linux) makes.
struct Terminal {
    child: Child,
    coming: Receiver<Vec<u8>>,
    /// The beginning of a character whose end has not come yet.
    half: Vec<u8>,
    /// All that was written to the terminal so far.
    said: String,
}

impl Terminal {
    fn start(args: &str, out: &std::path::Path) -> Result<Self> {
        let lab = env!("CARGO_BIN_EXE_lab");
        let line = format!("stty cols {COLUMNS} rows 24; exec {lab} bench {args} --out {}", text(out)?);
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        command.env_remove("CI").env_remove("COLUMNS").env_remove("LAB_GUARD");
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start `script`")?;
        let mut screen = child.stdout.take().context("no stdout")?;
        let (tell, coming) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if tell.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, coming, half: Vec::new(), said: String::new() })
    }

    /// Reads a little more; whether there was more.
    fn read(&mut self, deadline: Instant, what: &str) -> Result<bool> {
        match self.coming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(more) => self.half.extend(more),
            Err(RecvTimeoutError::Timeout) => bail!("gave up waiting until {what}:\n{}", self.said),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
        let whole = std::str::from_utf8(&self.half).map_or_else(|error| error.valid_up_to(), str::len);
        self.said.push_str(std::str::from_utf8(&self.half[..whole])?);
        self.half.drain(..whole);
        Ok(true)
    }

    /// Reads until the screen shows something.
    fn until(&mut self, what: &str, shown: impl Fn(&[String]) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            ensure!(self.read(deadline, what)?, "it ended before {what}:\n{}", self.said);
            if shown(&screen(&self.said)?) {
                return Ok(());
            }
        }
    }

    /// The screen at the end, and the exit code.
    fn end(mut self) -> Result<(Vec<String>, Option<i32>)> {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline, "it ends")? {}
        Ok((screen(&self.said)?, self.child.wait()?.code()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows after this was written to it: just enough of one, and an
/// error for what it does not know.
fn screen(said: &str) -> Result<Vec<String>> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut chars = said.chars();
    // Where an escape has not come to its end yet, the screen is what it was before.
    let now = |lines: Vec<Vec<char>>| Ok(lines.into_iter().map(|line| line.into_iter().collect()).collect());
    while let Some(char) = chars.next() {
        match char {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                lines.resize(lines.len().max(row + 1), Vec::new());
            }
            '\u{1b}' => {
                match chars.next() {
                    Some('[') => {}
                    Some(other) => bail!("the escape `{other}` is not known"),
                    None => return now(lines),
                }
                let mut number = String::new();
                let command = loop {
                    match chars.next() {
                        Some(digit @ ('0'..='9' | '?' | ';')) => number.push(digit),
                        Some(command) => break command,
                        None => return now(lines),
                    }
                };
                let count = number.parse().unwrap_or(1);
                match command {
                    'A' => row = row.saturating_sub(count),
                    'B' => row = (row + count).min(lines.len() - 1),
                    'K' if number == "2" => lines[row].clear(),
                    'K' => lines[row].truncate(column),
                    'J' => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    'm' => bail!("a colour although NO_COLOR is set"),
                    _ => bail!("`{number}{command}` is not known"),
                }
            }
            char => {
                // A full line goes on in the next, but only when there is more of it.
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = char;
                column += 1;
            }
        }
    }
    now(lines)
}

fn has(screen: &[String], words: &[&str]) -> bool {
    words.iter().all(|word| screen.iter().any(|line| line.contains(word)))
}

fn shows() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let args = "oneway-tcp --load 200 --trials 2 --seconds 1.5 --warmup 0.5 --no-floor";
    let mut terminal = Terminal::start(args, &dir.path().join("out"))?;
    let first = [
        "oneway-tcp, 64 B at 200/s: trial 1 of 2",
        "warming up",
        " left, then oneway-tcp, 64 B at 200/s",
        "0/2",
    ];
    terminal.until("warm-up is shown", |screen| has(screen, &first))?;
    // A rate stands there once there is something to compare with.
    let moves = |screen: &[String]| {
        let Some(line) = screen.iter().find(|line| line.contains("in flight")) else { return false };
        let numbers: Vec<u64> =
            line.split("/s").filter_map(|part| part.split_whitespace().last()?.parse().ok()).collect();
        has(screen, &["measuring", " of 2.0 s", "late or lost", "duplicated"])
            && numbers.iter().take(2).all(|n| *n > 0)
    };
    terminal.until("messages move", moves)?;
    let second = ["[  1/2] oneway-tcp", "trial 2 of 2", "1/2"];
    terminal.until("the first has scrolled up", |screen| has(screen, &second))?;
    let (screen, code) = terminal.end()?;
    ensure!(code == Some(0), "{code:?}: {screen:?}");
    ensure!(has(&screen, &["[  1/2]", "[  2/2]", "RECEIVED", "The report: "]), "{screen:?}");
    for gone in ["in flight", "late or lost", "░", "█", "trial 2 of 2"] {
        ensure!(!has(&screen, &[gone]), "`{gone}` is still there: {screen:?}");
    }
    Ok(())
}

fn interrupted() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let mut terminal = Terminal::start("oneway-tcp --load 200 --trials 1 --seconds 600 --no-floor", &out)?;
    terminal.until("it measures", |screen| has(screen, &["measuring", "in flight"]))?;
    terminal.child.stdin.as_mut().context("no stdin")?.write_all(b"\x03")?;
    let (screen, code) = terminal.end()?;
    ensure!(code == Some(130), "{code:?}: {screen:?}");
    ensure!(has(&screen, &["interrupted after 0 of 1 trials", "lab bench --resume --out"]), "{screen:?}");
    for gone in ["in flight", "late or lost", "░", "trial 1 of 1"] {
        ensure!(!has(&screen, &[gone]), "`{gone}` is still there: {screen:?}");
    }
    Ok(())
}

fn plain() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let args = ["bench", "oneway-tcp", "--load", "200", "--trials", "2", "--seconds", "1", "--warmup", "0.1"];
    let ran = run(&[&args[..], &["--no-floor", "--out", text(&out)?]].concat())?.expect(0)?;
    ensure!(!ran.err.contains('\u{1b}') && !ran.err.contains('\r'), "control characters: {:?}", ran.err);
    let lines: Vec<&str> = ran.err.lines().filter(|line| !line.is_empty()).collect();
    let begins = [
        "2 trials to run",
        "[  1/2] oneway-tcp",
        "First report, 1 trial each: ",
        "More trials follow; Ctrl-C ends the run and keeps its results.",
        "[  2/2] oneway-tcp",
        "The report: ",
    ];
    ensure!(
        lines.len() == begins.len() && lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)),
        "other lines than expected: {lines:?}"
    );
    Ok(())
}
