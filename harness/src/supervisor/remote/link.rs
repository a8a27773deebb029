//! The supervisor's end of a launched role: the launcher's process, its lines, and both accounts.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use labs::printable::printable;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::super::heard::Heard;
use super::clocks::{self, Comparing, Comparison, ROUND_TRIPS};
use super::launch::Launch;
use super::lines;
use super::protocol::{FromAgent, Identity, ToAgent};
use crate::measure::account::{Mirror, Which};
use crate::measure::clock;
use crate::process;
use crate::results::{Host, Noise};
use crate::roles::protocol::{FromRole, Init, ToRole};

/// How long the program on the other side may take to answer at first. That is no failure of a host that
/// was there: a login over ssh takes ten seconds on a busy machine.
const GREETING: Duration = Duration::from_secs(30);
/// A host that says nothing for so long is gone. It is asked every second.
const SILENCE: Duration = Duration::from_secs(8);
const ASKED: Duration = Duration::from_secs(1);
/// How long a launcher may take to end after its connection has.
const ENDING: Duration = Duration::from_millis(500);
/// How often what others have received is sent to a sender elsewhere: its window waits for it.
const PROGRESS: Duration = Duration::from_millis(5);
const ENDED: &str = "the control line broke: the launcher or the other host ended";
/// Characters of what the launcher said that are shown.
const SAID: usize = 600;
/// Most bytes of a name of a host or a CPU.
const NAME: usize = 200;

/// What is known of the other side.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Its machine.
    pub host: Host,
    /// Its clock, compared with this one before and after.
    pub clock: SideClock,
    /// How quiet it was while the role ran.
    pub noise: Noise,
}

/// The clock of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideClock {
    /// Its clock less this one's, ns, before the trial.
    pub offset_ns: i64,
    /// How far from the truth times of both sides together may be, ns.
    pub bound_ns: u64,
}

/// Starts a role elsewhere: the launcher's process is a child of this one. What it says comes as of
/// any other role.
pub(in super::super) fn spawn(
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    number: usize,
    mouth: mpsc::UnboundedSender<(usize, Heard)>,
    launch: &Launch,
) -> Result<u32> {
    let prefix = launch.prefix(init.kind).context("this role is started here")?;
    let [program, words @ ..] = prefix else { bail!("the prefix is empty") };
    let mut command = std::process::Command::new(program);
    command
        .args(words)
        .args([launch.program().as_str(), "agent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    process::die_with_parent(&mut command);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
    let child = child.with_context(|| {
        format!("cannot start `{program}`, the launcher of {}; is it installed, and on PATH?", init.role())
    })?;
    let pid = child.id().context("the launcher ended immediately")?;
    tokio::spawn(attend(child, Link { init, inbox, number, mouth }));
    Ok(pid)
}

/// What was read from the other side, and when.
type Heards = mpsc::Receiver<Result<(u64, FromAgent)>>;

struct Link {
    init: Init,
    inbox: mpsc::UnboundedReceiver<ToRole>,
    number: usize,
    mouth: mpsc::UnboundedSender<(usize, Heard)>,
}

/// Serves a launcher to its end, and says how it ended.
async fn attend(mut child: Child, mut link: Link) {
    let said: Arc<Mutex<String>> = Arc::default();
    let errors = child.stderr.take().map(|stderr| {
        let said = Arc::clone(&said);
        tokio::spawn(async move {
            let (mut stderr, mut piece) = (stderr, [0; 1024]);
            while let Ok(length @ 1..) = stderr.read(&mut piece).await {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&String::from_utf8_lossy(&piece[..length]));
                // The last words matter, and no more of them are kept.
                let extra = said.len().saturating_sub(SAID);
                let cut = (extra..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
                said.drain(..cut);
            }
        })
    });
    let served = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => serve(input, BufReader::new(output), &mut link).await,
        _ => Err(anyhow::anyhow!("the launcher has no pipes")),
    };
    let why = match served {
        Ok(why) => why,
        Err(error) => {
            // How it ended by itself is of interest, and not that we end it.
            let status = timeout(ENDING, child.wait()).await;
            let _ = child.start_kill();
            if let Some(errors) = errors {
                let _ = timeout(ENDING, errors).await;
            }
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let ended = match status {
                Ok(Ok(status)) if !status.success() => format!(" (the launcher ended with {status})"),
                _ => String::new(),
            };
            let said = printable(said.trim_end()).replace('\n', "\n    ");
            let said = if said.is_empty() { said } else { format!("; its last output:\n    {said}") };
            Some(format!("{}{ended}{said}", printable(&format!("{error:#}"))))
        }
    };
    // The other side ends with its input.
    drop(child);
    drop(link.mouth.send((link.number, Heard::Left(why))));
}

/// The control lines of one role, both ways, until it has left; why, if not as it should.
async fn serve(
    mut to: ChildStdin,
    mut from: BufReader<ChildStdout>,
    link: &mut Link,
) -> Result<Option<String>> {
    let own = Identity::own();
    // Something else than an agent may have said what it is, and ended: that is the better reason.
    let asked = lines::write(&mut to, &ToAgent::Hello(own.clone())).await;
    let greeting = timeout(GREETING, lines::read::<FromAgent>(&mut from)).await;
    let greeting = greeting.with_context(|| {
        format!("the program on the other side did not answer within {} s", GREETING.as_secs())
    })?;
    let greeting = greeting.context("the other side is no `lab` of this version")?;
    asked.context("the launcher does not listen")?;
    let Some((_, FromAgent::Hello(there, host))) = greeting else {
        bail!("the launcher ended before the program on the other side had answered");
    };
    ensure!(
        there == own,
        "the program on the other side is {}, and this one is {}; copy this one there, or name another with \
         --launch-program",
        there.told(),
        own.told()
    );

    // One task reads: a line that was begun must be read to its end.
    let (said, mut heard) = mpsc::channel::<Result<(u64, FromAgent)>>(1_000);
    let reader = tokio::spawn(async move {
        loop {
            let line = lines::read(&mut from).await.transpose();
            let Some(line) = line else { return };
            let failed = line.is_err();
            if said.send(line).await.is_err() || failed {
                return;
            }
        }
    });
    let before = compare(&mut to, &mut heard).await?;
    let mut side = Side {
        host: known(*host),
        clock: SideClock { offset_ns: before.offset, bound_ns: before.bound },
        noise: Noise::default(),
    };
    let mut init = link.init.clone();
    init.clock_ahead_ns = before.offset;
    let accounts: Option<PathBuf> = init.measure.as_ref().map(|measure| measure.accounts.clone());
    tell(&mut to, &ToAgent::Role(Box::new(ToRole::Init(Box::new(init))))).await?;

    let mut mirror = accounts.as_deref().map(Mirror::new);
    let waits = link.init.kind.sends() && link.init.measure.as_ref().is_some_and(|all| all.window.is_some());
    let own_files = format!("{}.", link.init.role());
    let mut progress = interval(PROGRESS);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ask = interval(ASKED);
    let mut last = Instant::now();
    let left = loop {
        tokio::select! {
            line = link.inbox.recv() => match line {
                Some(line) => tell(&mut to, &ToAgent::Role(Box::new(line))).await?,
                // The supervisor has given the role up.
                None => break Some("it was given up".to_owned()),
            },
            line = heard.recv() => {
                last = Instant::now();
                match line.context(ENDED)??.1 {
                    FromAgent::Role(line) => drop(link.mouth.send((link.number, Heard::Line(*line)))),
                    FromAgent::Pages(pages) => match &mut mirror {
                        Some(mirror) => mirror
                            .apply(&pages, |name| name.starts_with(&own_files))
                            .context("an account cannot be copied")?,
                        None => bail!("it sent an account, and keeps none"),
                    },
                    FromAgent::Left(why, noise) => {
                        side.noise = noise;
                        break why.map(|why| printable(&short(why, SAID)));
                    }
                    FromAgent::Pong(..) => {}
                    FromAgent::Hello(..) => bail!("a second greeting"),
                }
            }
            _ = progress.tick(), if waits => {
                if let Some(mirror) = &mut mirror {
                    let others = mirror.changes_of(Which::Counters, |name| !name.starts_with(&own_files))?;
                    for pages in others {
                        tell(&mut to, &ToAgent::Pages(pages)).await?;
                    }
                }
            }
            _ = ask.tick() => {
                ensure!(last.elapsed() < SILENCE, silent());
                tell(&mut to, &ToAgent::Ping(0)).await?;
            }
        }
    };
    // The clock again, for its drift; a side that has failed may not answer any more.
    let left = match compare(&mut to, &mut heard).await {
        Ok(after) => {
            side.clock.bound_ns = clocks::bound(before, after);
            left
        }
        Err(error) => left.or_else(|| Some(format!("the clocks could not be compared again: {error:#}"))),
    };
    drop(link.mouth.send((link.number, Heard::Remote(Box::new(side)))));
    reader.abort();
    Ok(left)
}

/// What another machine says of itself, in a length that people read.
fn known(host: Host) -> Host {
    let name = |text: String| printable(&short(text, NAME));
    Host { name: name(host.name), cpu: name(host.cpu), kernel: name(host.kernel), ..host }
}

fn short(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// Says something to the agent. A host that has stopped takes no more lines than its pipe holds.
async fn tell(to: &mut ChildStdin, line: &ToAgent) -> Result<()> {
    let told = timeout(SILENCE, lines::write(to, line)).await;
    told.with_context(silent)?.context("the control line broke")
}

fn silent() -> String {
    format!("the other host has not answered for {} s", SILENCE.as_secs())
}

/// Compares the clocks.
async fn compare(to: &mut ChildStdin, heard: &mut Heards) -> Result<Comparison> {
    let mut comparing = Comparing::default();
    let began = Instant::now();
    for number in 1..=ROUND_TRIPS {
        if comparing.seen > 0 && began.elapsed() > clocks::LONGEST {
            break;
        }
        let deadline = Instant::now() + SILENCE;
        let asked = clock::now();
        tell(to, &ToAgent::Ping(number)).await?;
        loop {
            let line = tokio::time::timeout_at(deadline, heard.recv()).await;
            match line.with_context(silent)?.context(ENDED)?? {
                (at, FromAgent::Pong(answered, theirs)) if answered == number => {
                    comparing.add(asked, theirs, at);
                    break;
                }
                // Of an earlier question.
                (_, FromAgent::Pong(..)) => {}
                (_, line) => bail!("the other side said something else than its time: {}", name(&line)),
            }
        }
    }
    comparing.best().context("the clocks were not compared")
}

fn name(line: &FromAgent) -> &'static str {
    match line {
        FromAgent::Hello(..) => "a greeting",
        FromAgent::Pong(..) => "a time",
        FromAgent::Role(line) => match **line {
            FromRole::Failed { .. } => "that its role failed",
            _ => "a line of its role",
        },
        FromAgent::Pages(_) => "an account",
        FromAgent::Left(..) => "that its role left",
    }
}
