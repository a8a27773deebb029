//! The agent: on the other side, it starts the role, passes its lines on, and keeps the accounts in
//! step.

use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::heard::Heard;
use super::super::start;
use super::lines;
use super::protocol::{FromAgent, Identity, ToAgent};
use crate::measure::account::{self, Mirror, Which};
use crate::measure::noise::Meter;
use crate::measure::{clock, host};
use crate::roles::protocol::{FromRole, ToRole};

/// How often counters are sent: a sender in a closed loop waits for them.
const COUNTERS: Duration = Duration::from_millis(5);
/// How often everything else is: message sets say what is missing.
const SETS: u32 = 40; // times COUNTERS
/// A supervisor asks every second: one that says nothing, or takes nothing, for so long is gone.
const GONE: Duration = Duration::from_secs(30);

/// Serves the supervisor on stdin and stdout until it, or the role, has ended.
///
/// # Errors
/// When the first line is none, or what the supervisor says is no control line.
pub fn main() -> Result<()> {
    let runtime = crate::roles::runtime(0)?;
    let served = runtime.block_on(serve());
    // A read of stdin that still waits ends with the process.
    runtime.shutdown_background();
    served
}

async fn serve() -> Result<()> {
    let (mut input, mut output) = (BufReader::new(input()), output());
    let Some((_, ToAgent::Hello(asks))) = lines::read(&mut input).await? else {
        bail!("the first line is no greeting")
    };
    let own = Identity::own();
    lines::write(&mut output, &FromAgent::Hello(own.clone(), Box::new(host::host()))).await?;
    // The supervisor says what differs; nothing is started here.
    ensure!(asks == own, "the other side is {}, and this is {}", asks.told(), own.told());

    let (said, mut asked) = mpsc::channel(1_000);
    tokio::spawn(async move {
        // Its end, and what is no control line, are the end of the supervisor.
        while let Ok(Some(line)) = lines::read::<ToAgent>(&mut input).await {
            if said.send(line).await.is_err() {
                break;
            }
        }
    });
    let accounts = account::new_dir()?;
    let mut mirror = Mirror::new(accounts.path());
    let (mouth, mut heard) = mpsc::unbounded_channel();
    let mut role: Option<(String, mpsc::UnboundedSender<ToRole>)> = None;
    let mut tick = tokio::time::interval(COUNTERS);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0;
    let mut meter = None;
    let (mut last, mut begun) = (Instant::now(), false);
    loop {
        tokio::select! {
            line = timeout_at(last + GONE, asked.recv()) => match line {
                Err(_) => bail!("the supervisor has said nothing for {} s", GONE.as_secs()),
                // The role's process ends with this one.
                Ok(None) => return Ok(()),
                Ok(Some((_, ToAgent::Hello(_)))) => bail!("a second greeting"),
                Ok(Some((_, ToAgent::Ping(number)))) => {
                    last = Instant::now();
                    say(&mut output, &FromAgent::Pong(number, clock::own())).await?;
                }
                Ok(Some((_, ToAgent::Pages(pages)))) => mirror.apply(&pages, account::is_counters)?,
                Ok(Some((_, ToAgent::Role(line)))) => match (*line, &role) {
                    (ToRole::Init(mut init), None) if !begun => {
                        if let Some(measure) = &mut init.measure {
                            measure.accounts = accounts.path().to_owned();
                        }
                        let (lines, inbox) = mpsc::unbounded_channel();
                        role = Some((init.role(), lines));
                        (meter, begun) = (Some(Meter::start()), true);
                        start::spawn(*init, inbox, 0, mouth.clone(), None).context("cannot start the role")?;
                    }
                    (line, Some((_, lines))) => drop(lines.send(line)),
                    // It has left meanwhile.
                    (_, None) if begun => {}
                    (_, None) => bail!("there is no role yet"),
                },
            },
            said = heard.recv() => match said {
                Some((_, Heard::Line(line))) => {
                    // Its account is complete with its report.
                    if let (FromRole::Report(_) | FromRole::Done { .. }, Some((name, _))) = (&line, &role) {
                        send(&mut output, mirror.changes(name, Which::All)?).await?;
                    }
                    say(&mut output, &FromAgent::Role(Box::new(line))).await?;
                }
                Some((_, Heard::Left(why))) => {
                    if let Some((name, _)) = &role {
                        send(&mut output, mirror.changes(name, Which::All)?).await?;
                    }
                    let noise = meter.take().map(Meter::stop).unwrap_or_default();
                    say(&mut output, &FromAgent::Left(why, noise)).await?;
                    // The clocks are still compared; the supervisor ends it.
                    role = None;
                }
                Some((_, Heard::Remote(_))) | None => {}
            },
            _ = tick.tick(), if role.is_some() => {
                ticks += 1;
                let which = if ticks % SETS == 0 { Which::All } else { Which::Counters };
                let (name, _) = role.as_ref().context("a role")?;
                send(&mut output, mirror.changes(name, which)?).await?;
            }
        }
    }
}

async fn send(output: &mut (impl AsyncWrite + Unpin), changes: Vec<Vec<account::Page>>) -> Result<()> {
    for pages in changes {
        say(output, &FromAgent::Pages(pages)).await?;
    }
    Ok(())
}

/// Says something to the supervisor, which may be gone without a word.
async fn say(output: &mut (impl AsyncWrite + Unpin), line: &FromAgent) -> Result<()> {
    timeout(GONE, lines::write(output, line)).await.context("the supervisor takes nothing any more")?
}

/// What the supervisor says. A pipe is waited for as a socket is; anything else is read by a thread,
/// which takes longer to hear a line.
fn input() -> Box<dyn AsyncRead + Send + Unpin> {
    let pipe = std::io::stdin().as_fd().try_clone_to_owned().and_then(pipe::Receiver::from_owned_fd);
    match pipe {
        Ok(pipe) => Box::new(pipe),
        Err(_) => Box::new(tokio::io::stdin()),
    }
}

/// Where the supervisor listens.
fn output() -> Box<dyn AsyncWrite + Send + Unpin> {
    let pipe = std::io::stdout().as_fd().try_clone_to_owned().and_then(pipe::Sender::from_owned_fd);
    match pipe {
        Ok(pipe) => Box::new(pipe),
        Err(_) => Box::new(tokio::io::stdout()),
    }
}
