//! `lab predict`: asks three questions about a lab, plays the scene that answers each, and explains
//! the difference.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use labs::catalog::Entry;
use serde_json::{Value, json};

use crate::command::{BrokerArgs, Usage, interruptible, lab, source, tell_leftovers};
use crate::failure::{ALL, Question, Seen, Session, Sources, questions};
use crate::process::guard;
use crate::roles::{self, Handle};
use crate::{hint, units};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// The lab, as in `pubsub-redis`; `lab list` shows them all
    lab: String,
    /// The answers, one for each question, instead of asking for them: `3,0,x10`; an empty one is "I don't know"
    #[arg(long, value_name = "ANSWERS", allow_hyphen_values = true)]
    answers: Option<String>,
    /// Ask this question only: 1 (who hears what), 2 (what is lost) or 3 (by which factor)
    #[arg(long, value_name = "N", value_parser = units::count)]
    only: Option<usize>,
    /// Print one JSON object per question, without the scenes
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

/// A question, and its answer where it was given on the command line.
struct Asked {
    question: Question,
    given: Option<Option<f64>>,
}

pub(super) fn main(args: &PredictArgs, handles: &[Handle]) -> Result<ExitCode> {
    let handle = lab(handles, &args.lab)?;
    let asked = asked(args, &handle.entry)?;
    let choices = args.brokers.choices()?;
    let sources = match handle.entry.broker {
        Some(broker) => [(broker, source(handle, broker, &choices)?)].into(),
        None => Sources::new(),
    };
    guard::enter()?;
    let runtime = roles::runtime(0)?;
    let done = runtime.block_on(interruptible(all(args, handle, sources, &asked)));
    // Also what a scene has left that ended with an error.
    tell_leftovers(&runtime);
    runtime.shutdown_background();
    match done {
        Some(done) => done.map(|()| ExitCode::SUCCESS),
        None => Ok(ExitCode::from(130)),
    }
}

/// The questions that are to be asked, with the answers that were given.
fn asked(args: &PredictArgs, entry: &Entry) -> Result<Vec<Asked>> {
    let mut wanted: Vec<Question> = questions(entry).into();
    if let Some(only) = args.only {
        if !(1..=wanted.len()).contains(&only) {
            bail!(Usage(format!("there is no question {only}; give `--only` 1, 2 or 3")));
        }
        wanted.retain(|question| question.topic.number() == only);
        if let Some(why) = wanted.first().and_then(|question| question.why_not) {
            bail!(Usage(format!(
                "question {only} cannot be answered over {}: {why}; ask another one",
                entry.name
            )));
        }
    }
    let Some(answers) = &args.answers else {
        if !std::io::stdin().is_terminal() {
            let example = hint::command(&["predict", &entry.name, "--answers", "3,0,x10"]);
            bail!(Usage(format!(
                "there is no terminal to ask on; give the answers with --answers, as in `{example}`"
            )));
        }
        return Ok(wanted.into_iter().map(|question| Asked { question, given: None }).collect());
    };
    let answers: Vec<&str> = answers.split(',').collect();
    let open = wanted.iter().filter(|question| question.why_not.is_none()).count();
    // One for each question; those that cannot be answered may be left out.
    if answers.len() != wanted.len() && answers.len() != open {
        let many = |count: usize| if count == 1 { "1 is".to_owned() } else { format!("{count} are") };
        bail!(Usage(format!(
            "--answers has {}, and {} needed, with commas between them; leave one empty for \"I don't know\"",
            answers.len(),
            many(open)
        )));
    }
    let all = answers.len() == wanted.len();
    let mut answers = answers.into_iter();
    let mut asked = Vec::new();
    for question in wanted {
        let skipped = question.why_not.is_some();
        let text = if skipped && !all { "" } else { answers.next().unwrap_or_default() };
        let given = if skipped { None } else { read(&question, text)? };
        asked.push(Asked { question, given: Some(given) });
    }
    Ok(asked)
}

/// Reads the answer to a question from the command line.
fn read(question: &Question, text: &str) -> Result<Option<f64>> {
    let named = |error| Usage(format!("--answers, question {}: {error:#}", question.topic.number()));
    question.form.parse(text).map_err(|error| named(error).into())
}

async fn all(args: &PredictArgs, handle: &Handle, sources: Sources, asked: &[Asked]) -> Result<()> {
    let json = args.json;
    let tell = Box::new(move |line: &str| {
        if !json {
            // The reader of the output has closed it: the scene still runs to its end.
            let _ = outln!("{line}");
        }
    });
    let mut session = Session::new(handle, sources, tell);
    let answered = each(args, &handle.entry, &mut session, asked).await;
    let closed = session.close().await;
    answered.and(closed)
}

async fn each(args: &PredictArgs, entry: &Entry, session: &mut Session, asked: &[Asked]) -> Result<()> {
    if !args.json {
        outln!("{}: predict first, then see. An empty answer means \"I don't know\".", entry.name)?;
    }
    let (mut right, mut of) = (0, 0);
    for Asked { question, given } in asked {
        if !args.json {
            outln!(
                "\n{}. {}\n{}",
                question.topic.number(),
                question.topic.title(),
                wrapped(&question.text, 3)
            )?;
        }
        if let Some(why) = question.why_not {
            if args.json {
                outln!("{}", record(entry, question, None, None, why))?;
            } else {
                outln!("   (left out for {}: {why})", entry.name)?;
            }
            continue;
        }
        let predicted = match given {
            Some(given) => *given,
            None => ask(question, args.json).await?,
        };
        let seen = session.play(question).await?;
        let is_right = verdict(question, predicted, &seen);
        of += usize::from(is_right.is_some());
        right += usize::from(is_right == Some(true));
        if args.json {
            outln!("{}", record(entry, question, predicted, Some(&seen), &seen.why))?;
        } else {
            explain(question, predicted, &seen)?;
        }
    }
    if !args.json {
        outln!("\n{right} of {of} predicted")?;
        where_next(entry)?;
    }
    Ok(())
}

/// Whether the prediction is right; `None` where the scene has not answered the question.
fn verdict(question: &Question, predicted: Option<f64>, seen: &Seen) -> Option<bool> {
    let happened = seen.happened?;
    Some(predicted.is_some_and(|predicted| question.form.is_right(predicted, happened)))
}

/// Asks on the terminal, until the answer can be read. At the end of the input nothing is known.
async fn ask(question: &Question, json: bool) -> Result<Option<f64>> {
    if json {
        errln!("{}. {}\n{}", question.topic.number(), question.topic.title(), wrapped(&question.text, 3));
    }
    loop {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "   Your prediction ({}): ", question.form.hint());
        let _ = stderr.flush();
        drop(stderr);
        // A thread of its own waits for the line, so that Ctrl-C is heard meanwhile.
        let reading = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|_| line)
        });
        match question.form.parse(&reading.await??) {
            Ok(answer) => return Ok(answer),
            Err(error) => errln!("   {error:#}"),
        }
    }
}

fn explain(question: &Question, predicted: Option<f64>, seen: &Seen) -> Result<()> {
    let shown = |answer: Option<f64>, none: &str| {
        answer.map_or_else(|| none.to_owned(), |answer| question.form.shown(answer))
    };
    let mark = match verdict(question, predicted, seen) {
        _ if predicted.is_none() => "",
        Some(true) => "   right",
        Some(false) => "   not as predicted",
        None => "",
    };
    outln!("\n   predicted: {}{mark}", shown(predicted, "I don't know"))?;
    outln!("   happened:  {}", shown(seen.happened, "nobody can tell"))?;
    outln!("{}\n", wrapped(&format!("{}.", seen.told), 14))?;
    outln!("   why:{}", &wrapped(&seen.why, 14)[7..])?;
    outln!("   read:      {}", question.page)?;
    Ok(())
}

fn where_next(entry: &Entry) -> Result<()> {
    outln!("  read:  docs/patterns/{}.md, then {}", entry.pattern, entry.source)?;
    let scenario =
        ALL.iter().find(|scenario| scenario.pattern == entry.pattern && (scenario.why_not)(entry).is_none());
    if let Some(scenario) = scenario {
        let over = scenario.transport_of(entry);
        outln!("  next:  {}", hint::command(&["break", "run", scenario.name, "--over", &over]))?;
    }
    outln!("  again: {}\n", hint::command(&["predict", &entry.name]))?;
    Ok(())
}

/// One question as JSON. Counts are whole numbers.
fn record(
    entry: &Entry,
    question: &Question,
    predicted: Option<f64>,
    seen: Option<&Seen>,
    why: &str,
) -> Value {
    let number = |answer: f64| {
        if answer.fract() == 0.0 { json!(answer as u64) } else { json!((answer * 100.0).round() / 100.0) }
    };
    json!({
        "lab": entry.name,
        "number": question.topic.number(),
        "name": question.topic.name(),
        "question": question.text,
        "predicted": predicted.map(number),
        "happened": seen.and_then(|seen| seen.happened).map(number),
        "right": seen.and_then(|seen| verdict(question, predicted, seen)),
        "seen": seen.map(|seen| &seen.told),
        "why": why,
        "read": question.page,
    })
}

/// Breaks a text into lines of at most 100 characters, each after so many spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && indent + line + 1 + word.chars().count() > 100 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let spaces = " ".repeat(indent);
    lines.iter().map(|line| format!("{spaces}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "word ".repeat(40);
        let broken = wrapped(&text, 3);
        assert!(broken.lines().all(|line| line.starts_with("   word") && line.len() <= 100), "{broken}");
        assert_eq!(broken.split_whitespace().count(), 40);
        assert_eq!(wrapped("", 3), "   ");
    }
}
