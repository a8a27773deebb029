//! `lab correlation`: asks a child process on its stdin and reads answers from its
//! stdout. Every question gets its answer, or the reason why there is none.

use std::cell::Cell;
use std::os::unix::process::CommandExt as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use labs::apps::child::demo::{self, Happened, Tally};
use labs::apps::child::lines::{LineReceiver, LineSender};
use labs::apps::child::{self, Failure};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::command::{Usage, interruptible};
use crate::process::{self, guard};
use crate::{roles, units};

/// How long nothing may be answered before the user is told the usual cause.
const QUIET: Duration = Duration::from_secs(3);
const HINT: &str = "no answer yet: the child must write each answer out at once, and many programs do that only \
                    on a terminal; flush after each line, as in Python's `print(…, flush=True)`, or start it \
                    with `stdbuf -oL`";

#[derive(Debug, Args)]
pub(crate) struct CorrelationArgs {
    /// Requests to send and abandon
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = abandon)]
    abandon: u32,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// A child of your own, in any language: `-- python3 child.py`. It must know the
    /// questions `upper TEXT`, `wait MS TEXT` and `fail TEXT`; docs/applications/correlation.md
    /// shows one
    #[arg(last = true, value_name = "COMMAND")]
    child: Vec<String>,
}

fn abandon(text: &str) -> Result<u32> {
    let found = units::whole(text)?;
    ensure!((1..=50_000).contains(&found), "{found} requests are out of range; give 1 to 50000");
    Ok(u32::try_from(found)?)
}

/// The child that is asked where none is named.
pub(crate) fn answer() -> Result<ExitCode> {
    // Real programs print greetings on stdout, which are not answers.
    outln!("hello, ask me anything")?;
    let served = roles::runtime(0)?.block_on(child::serve(
        LineSender::into(tokio::io::stdout()),
        LineReceiver::of(tokio::io::stdin()),
        demo::handle,
    ));
    served.map(|_| ExitCode::SUCCESS)
}

pub(crate) fn main(args: &CorrelationArgs) -> Result<ExitCode> {
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(interruptible(talk(args)));
    runtime.shutdown_background();
    match done {
        Some(done) => done.map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        None => Ok(ExitCode::from(130)),
    }
}

/// Runs the demonstration, prints what happens, and returns whether every request is accounted
/// for.
async fn talk(args: &CorrelationArgs) -> Result<bool> {
    let (program, arguments) = match args.child.split_first() {
        Some((program, arguments)) => (program.into(), arguments.to_vec()),
        None => (process::this_program(), vec!["answer".to_owned()]),
    };
    let mut command = std::process::Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    process::die_with_parent(&mut command);
    // Ctrl-C is for us; the child ends when nobody asks any more.
    command.process_group(0);
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(|error| {
        anyhow!(Usage(format!(
            "cannot start `{}`: {error}; name a program that is on PATH, or its path",
            program.display()
        )))
    })?;
    let pid = child.id().context("the child ended immediately")?;
    let (input, output) =
        (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
    if !args.json {
        outln!("correlation: child process {pid} reads questions on its stdin and answers on its stdout")?;
        outln!("the number on a line is the correlation identifier of the question\n")?;
    }

    let (asker, talk) = child::over(LineSender::into(input), LineReceiver::of(output));
    // What the child has started holds its stdout, too, and would keep it open.
    let kill = || {
        if let Some(group) = Pid::from_raw(pid as i32) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    };
    let answered = Cell::new(false);
    let mut tell = |happened: Happened| {
        if let Happened::Answered { answer: Ok(_) | Err(Failure::Handler(_)), .. } = &happened {
            answered.set(true);
        }
        // The reader of the output has closed it. The scenario still runs to its end.
        let _ = if args.json { outln!("{}", as_json(&happened)) } else { outln!("  {}", as_text(&happened)) };
    };
    let playing = async {
        let killing = || {
            kill();
            Ok(())
        };
        let played = demo::play(&asker, args.abandon as usize, killing, &mut tell).await;
        // It may have failed before that.
        kill();
        played
    };
    let hint = async {
        tokio::time::sleep(QUIET).await;
        if !answered.get() {
            errln!("{HINT}");
        }
        std::future::pending::<()>().await
    };
    let played = tokio::select! {
        (played, ()) = async { tokio::join!(playing, talk.run_with(child)) } => played,
        // It never ends.
        () = hint => return Ok(false),
    };
    let tally = played?;
    if args.json {
        outln!("{}", counts(&tally))?;
        outln!("{}", json!({ "read": "labs/src/apps/child/mod.rs" }))?;
    } else {
        outln!("\n{}", summary(&tally))?;
        outln!("\n  read on:   labs/src/apps/child/mod.rs, labs/src/reqrep/correlation.rs")?;
    }
    let settled = tally.answered + tally.errors + tally.timed_out + tally.abandoned + tally.gone;
    Ok(tally.left == 0 && settled == tally.asked && tally.late == tally.timed_out + tally.abandoned)
}

fn as_json(happened: &Happened) -> Value {
    match happened {
        Happened::Asked { id, question } => json!({ "what": "asked", "id": id, "question": question }),
        Happened::Answered { id, question, answer } => match answer {
            Ok(text) => json!({ "what": "answered", "id": id, "question": question, "answer": text }),
            Err(why) => {
                let what = match why {
                    Failure::Handler(_) => "error",
                    Failure::TimedOut(_) => "timed_out",
                    Failure::Gone(_) => "gone",
                    Failure::Refused(_) => "refused",
                };
                json!({ "what": what, "id": id, "question": question, "why": why.to_string() })
            }
        },
        Happened::Abandoned { count, ids: (first, last), left } => {
            json!({ "what": "abandoned", "count": count, "first_id": first, "last_id": last, "left": left })
        }
        Happened::CameLate(count) => json!({ "what": "late", "count": count }),
        Happened::Killed => json!({ "what": "killed" }),
    }
}

/// The number in front of a question and of its answer is the correlation identifier, which
/// is the first word of both lines.
fn as_text(happened: &Happened) -> String {
    match happened {
        Happened::Asked { id, question } => format!("asks     {id:<5} {question}"),
        Happened::Answered { id, question, answer } => {
            let id = id.map_or("–".to_owned(), |id| id.to_string());
            match answer {
                Ok(text) => format!("answers  {id:<5} {text}   ({question})"),
                Err(why) => format!("fails    {id:<5} {question}: {why}"),
            }
        }
        Happened::Abandoned { count, ids: (first, last), left } => format!(
            "abandons {first} to {last}: {count} questions, as soon as they are accepted; left in the table: \
             {left}"
        ),
        Happened::CameLate(count) => {
            format!("late     {count} answers arrived too late so far; nobody waits for them any more")
        }
        Happened::Killed => "killed   the child while a question is open".to_owned(),
    }
}

fn counts(tally: &Tally) -> Value {
    json!({
        "what": "counts", "asked": tally.asked, "answered": tally.answered, "errors": tally.errors,
        "timed_out": tally.timed_out, "abandoned": tally.abandoned, "gone": tally.gone,
        "late": tally.late, "unknown": tally.unknown, "garbage": tally.garbage, "left": tally.left,
    })
}

fn summary(tally: &Tally) -> String {
    let Tally { asked, answered, errors, timed_out, abandoned, gone, late, unknown, garbage, left } = tally;
    format!(
        "  {asked} asked = {answered} answered + {errors} answered with an error + {timed_out} timed out \
         + {abandoned} abandoned + {gone} open when the child ended\n  \
         dropped: {late} late answers, {unknown} answers to unknown questions, \
         {garbage} lines that are not answers\n  \
         left in the table: {left}"
    )
}
