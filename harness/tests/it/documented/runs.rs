//! Runs every command that the documentation shows, outside of the sections that [`crate::try_it`] runs:
//! page by page, from top to bottom, in one folder, as a reader does. [`ways`](super::ways) has what is
//! different here, and is told at the end, so that nobody takes what was left out for what has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use labs::lab::Broker;
use libtest_mimic::Trial;

use super::sandbox::Sandbox;
use super::ways::{WAYS, Way, way};
use crate::needs::{Need, Needs, needs, proof};
use crate::program::NOTHING;
use crate::{trial, try_it};

/// How often a command is run that cannot tell, or has measured nothing: a busy machine may spoil it.
const ATTEMPTS: usize = 6;

/// Pages that take longest, and begin first.
const LONGEST: [&str; 2] = ["docs/performance.md", "docs/faults.md"];

/// The page whose commands check times: beside other tests, the machine has no time for them.
const ALONE: &str = "docs/selftest.md";

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("documented::every_exception_is_of_a_command", exceptions)];
    match pages() {
        Ok(mut pages) => {
            pages.sort_by_key(|(name, _)| !LONGEST.contains(&name.as_str()));
            trials.extend(pages.into_iter().filter(|(name, _)| name != ALONE).map(page));
        }
        Err(error) => trials.push(trial("documented::pages_can_be_read", move || Err(error))),
    }
    trials
}

/// What must have the machine for itself.
pub(crate) fn measuring() -> Vec<Trial> {
    pages().unwrap_or_default().into_iter().filter(|(name, _)| name == ALONE).map(page).collect()
}

fn page((name, commands): (String, Vec<String>)) -> Trial {
    let all = Broker::ALL.into_iter().map(Need::FullBroker);
    let all = all.fold(Needs::from(Need::Program("python3", "python3")), Needs::and);
    let called = format!("documented::runs::{name}");
    proof(needs(all, &called, move || run(&name, &commands)))
}

/// The pages, each with its commands in the order in which it shows them.
fn pages() -> Result<Vec<(String, Vec<String>)>> {
    let root = super::root();
    let mut pages: Vec<(String, String)> = Vec::new();
    for path in super::pages()? {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path)?;
        // That section is run by tests of its own.
        let (before, behind) = text.split_once(try_it::HEADING).unwrap_or((&text, ""));
        let behind = behind.split_once("\n## ").map_or("", |(_, behind)| behind);
        pages.push((name, format!("{before}\n## {behind}")));
    }
    pages.sort_by_key(|(name, _)| (name != ALONE, name.clone()));
    // What several pages show is run once, unless what follows it on the page needs it. What is only
    // mentioned in a sentence is run where no page shows it in a block.
    let mut seen = BTreeSet::new();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for (name, text) in &pages {
        let first = |line: &String| {
            let words = command(line).unwrap_or_default();
            let needed = words.first().is_some_and(|recipe| ["play", "exercises"].contains(&recipe.as_str()));
            seen.insert(words) || needed
        };
        all.push((name.clone(), super::lines(text).into_iter().filter(first).collect()));
    }
    for ((_, text), (_, commands)) in pages.iter().zip(&mut all) {
        let new = |line: &String| command(line).is_ok_and(|words| seen.insert(words));
        commands.extend(mentioned(text).into_iter().filter(new));
    }
    all.retain(|(_, commands)| !commands.is_empty());
    ensure!(all.len() > 50, "only {} pages show commands", all.len());
    Ok(all)
}

/// The whole commands in the sentences of a page: a recipe, with words that nobody has to fill in.
fn mentioned(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let sentences = text.split("```").step_by(2);
    for span in sentences.flat_map(|sentence| sentence.split('`').skip(1).step_by(2)) {
        let words = span.split_whitespace().count();
        let recipe = (span.starts_with("./run ") || span.starts_with("just ")) && words > 2;
        let blank = |word: &str| {
            let capital = word.chars().filter(char::is_ascii_uppercase).count();
            capital > 1 || word.contains(['…', '['])
        };
        if recipe && !span.split([' ', '-', '=']).any(blank) {
            found.push(span.to_owned());
        }
    }
    found
}

/// The words that `lab` gets, its command first; those of a recipe that is no command of `lab`.
fn command(line: &str) -> Result<Vec<String>> {
    let line = if line.contains("$(") { expanded(line)? } else { line.to_owned() };
    let words = super::words(&line).with_context(|| format!("`{line}` is not understood"))?;
    super::mapped(&words).with_context(|| format!("`{line}` has no recipe"))
}

/// What a shell makes of a line.
fn expanded(line: &str) -> Result<String> {
    let output = std::process::Command::new("sh").arg("-c").arg(format!("echo {line}")).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What was left out or made shorter, by what was done.
static TOLD: Mutex<BTreeMap<String, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

fn note(what: String, line: &str) {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.entry(what).or_default().insert(line.to_owned());
}

/// What was not run as its page shows it; nothing if no page was run.
pub(crate) fn told() -> String {
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = |(what, lines): (&String, &BTreeSet<String>)| {
        let lines: Vec<String> = lines.iter().map(|line| format!("- `{line}`\n")).collect();
        format!("{what}:\n\n{}\n", lines.concat())
    };
    told.iter().map(lines).collect()
}

/// Runs the commands of a page.
fn run(page: &str, lines: &[String]) -> Result<()> {
    let mut sandbox = Sandbox::new(page)?;
    let mut wrong = Vec::new();
    for line in lines {
        // One that fails must not hide the next.
        if let Err(error) = run_one(&mut sandbox, line) {
            wrong.push(format!("{page}: {line}\n{error:#}"));
        }
    }
    if let Err(error) = sandbox.interrupt() {
        wrong.push(format!("{page}: {error:#}"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    Ok(())
}

fn run_one(sandbox: &mut Sandbox, line: &str) -> Result<()> {
    let shown = command(line)?;
    let how = way(&shown).map_or(Way::Exits(0), |(_, how)| how);
    let (more, expected) = match how {
        Way::Exits(expected) => ("", expected),
        Way::Shorter(more, expected) => {
            note(format!("Run with `{more}`"), line);
            (more, expected)
        }
        Way::Until(ready, more) => {
            let words = sandbox.fill(&with(shown, more))?;
            return sandbox.start(&words, ready);
        }
        Way::Not(why) => {
            note(format!("Not run: {why}"), line);
            return Ok(());
        }
    };
    sandbox.before(&shown)?;
    let mut words = with(shown, more);
    // Nobody is there to type an answer.
    if words[0] == "predict" && !words.iter().any(|word| word == "--answers") {
        let answers = if words.iter().any(|word| word == "--only") { "" } else { ",," };
        words.extend(["--answers".to_owned(), answers.to_owned()]);
    }
    let mut words = sandbox.fill(&words)?;
    let mut said = sandbox.run(&words)?;
    for _ in 1..ATTEMPTS {
        // On a busy machine a short measured time can pass before the first message arrives.
        let nothing = said.code == 1 && said.text.contains(NOTHING);
        if !nothing && (said.code != 3 || expected == 3) {
            break;
        }
        if nothing && words.iter().any(|word| word == "--out") && !words.iter().any(|word| word == "--resume")
        {
            words.push("--resume".to_owned());
        }
        said = sandbox.run(&words)?;
    }
    let (code, text) = (said.code, said.text);
    ensure!(code == expected, "lab {}: exit code {code}, not {expected}:\n{text}", words.join(" "));
    let bad = text.lines().find(|line| line.starts_with("error:") || line.contains("panicked at"));
    ensure!(bad.is_none(), "lab {}:\n{text}", words.join(" "));
    Ok(())
}

/// A command with more words, labs first: an option that it has already gets another value.
fn with(mut words: Vec<String>, more: &str) -> Vec<String> {
    let mut more = more.split_whitespace().map(str::to_owned).peekable();
    while let Some(word) = more.next() {
        let value = more.next_if(|next| word.starts_with("--") && !next.starts_with("--"));
        match (words.iter().position(|other| *other == word), value) {
            (Some(at), Some(value)) if at + 1 < words.len() => words[at + 1] = value,
            (Some(_), _) => {}
            (None, value) => words.extend(std::iter::once(word).chain(value)),
        }
    }
    words
}

/// An exception that is of no command any more would be told for ever, and one that another hides is
/// never asked.
fn exceptions() -> Result<()> {
    let mut used = BTreeSet::new();
    for (_, lines) in pages()? {
        for line in lines {
            used.extend(way(&command(&line)?).map(|(at, _)| at));
        }
    }
    let unused = WAYS.iter().enumerate().filter(|(at, _)| !used.contains(at));
    let unused: Vec<String> = unused.map(|(_, (words, _))| words.join(" ")).collect();
    ensure!(unused.is_empty(), "no documented command is {}", unused.join(", nor "));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let shorter = with(words("bench x --seconds 9 --no-floor"), "y --seconds 0.1 --no-floor --trials 1");
    ensure!(shorter == words("bench x --seconds 0.1 --no-floor y --trials 1"), "{shorter:?}");
    let found =
        mentioned("`./run lab x` and `./run lab` and `./run lab LAB`\n```sh\n./run lab y\n```\n`just lab z`");
    ensure!(found == ["./run lab x", "just lab z"], "{found:?}");
    Ok(())
}
