//! The sections `Predict, run, explain` of the pages about patterns, transports, applications and
//! measuring: every command in them is run, and shows what the answer below it says. All other commands
//! that the documentation shows are run by [`crate::documented::runs`].
//!
//! A page says in comments, which readers do not see, what is checked. They stand directly below the
//! command:
//!
//! ```text
//! <!-- shows: 2 of 3 -->                   this text is in the output
//! <!-- lacks: different order -->          this text is not in the output
//! <!-- line: receiver-kill, does not -->   one line of the output has all these texts, however wide its columns
//! <!-- faster: batch=256, batch=1 -->      the first row of the table has a higher rate than the second
//! <!-- exits: 3 -->                        the exit code, where it is not 0
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use labs::catalog;
use labs::lab::Broker;
use libtest_mimic::Trial;

use crate::conformance::shared;
use crate::needs::{Need, Needs, needs};
use crate::program::{Ran, bench, run, run_in, text as path};
use crate::trial;

const FOLDERS: [&str; 3] = ["patterns", "transports", "applications"];
/// The chapters about measuring. That about the result format is a reference.
const MEASURING: [&str; 7] =
    ["method", "faults", "selftest", "wrong-views", "performance", "regress", "history"];
pub(crate) const HEADING: &str = "## Predict, run, explain\n";

/// Pages without such a section, each with its reason.
const WITHOUT: [(&str, &str); 1] = [("applications/chat", "a chat needs people and a browser")];

/// What surrounds an answer. Without the blank lines, Markdown inside is not rendered.
const FOLD: &str = "<details><summary>Answer</summary>\n\n";
const END_OF_FOLD: &str = "\n\n</details>";

/// How often a command is run until it shows what its page says: a busy machine may spoil a rate or the
/// order of events. A page that is wrong is wrong every time.
const ATTEMPTS: usize = 5;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("try_it::faults_of_a_section_are_found", faults_are_found),
        trial("try_it::claim_that_is_not_true_is_found", untrue),
        trial("try_it::rates_are_read_from_tables", rates),
    ];
    match pages() {
        Ok(pages) => trials.extend(pages.into_iter().map(|(name, text)| page(name, text))),
        Err(error) => trials.push(trial("try_it::pages_can_be_read", move || Err(error))),
    }
    trials
}

/// The names of all pages, as in `patterns/pubsub` or `method`, with their text.
fn pages() -> Result<Vec<(String, String)>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages = Vec::new();
    for folder in FOLDERS {
        let path = docs.join(folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let file = entry?.path();
            let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if file.extension().is_some_and(|ending| ending == "md") {
                pages.push((format!("{folder}/{stem}"), fs::read_to_string(&file)?));
            }
        }
    }
    for name in MEASURING {
        let file = docs.join(name).with_extension("md");
        pages.push((name.to_owned(), fs::read_to_string(&file).with_context(|| name.to_owned())?));
    }
    ensure!(pages.len() > 20, "only {} pages were found", pages.len());
    pages.sort();
    Ok(pages)
}

/// The trial of a page.
fn page(name: String, text: String) -> Trial {
    let called = format!("try_it::{name}");
    if WITHOUT.iter().any(|(without, _)| *without == name) {
        return trial(&called, move || {
            ensure!(!text.contains(HEADING), "{name} has a section and needs no exception any more");
            Ok(())
        });
    }
    match claims(&text) {
        Ok(claims) => {
            let all = brokers(&claims)
                .into_iter()
                .fold(Needs::default(), |all, broker| all.and(Need::FullBroker(broker)));
            needs(all, &called, move || claims.iter().try_for_each(Claim::holds))
        }
        Err(error) => trial(&called, move || Err(error)),
    }
}

/// A command of a page, and what the page says about it.
#[derive(Debug, Default)]
struct Claim {
    /// What follows `./run`.
    words: Vec<String>,
    exits: i32,
    shows: Vec<String>,
    lacks: Vec<String>,
    /// Texts that stand in one line of the output.
    lines: Vec<Vec<String>>,
    /// Rows of the table of `lab bench`, each the faster one and the slower one.
    faster: Vec<(String, String)>,
}

/// All claims of a page.
fn claims(text: &str) -> Result<Vec<Claim>> {
    let (_, after) = text.split_once(HEADING).with_context(|| format!("there is no `{}`", HEADING.trim()))?;
    let section = after.split("\n## ").next().unwrap_or(after);
    let mut claims = Vec::new();
    for item in items(section) {
        claims.extend(claims_of(&item).with_context(|| item.clone())?);
    }
    ensure!(!claims.is_empty(), "the section has no command");
    let blocks = section.matches("```").count() / 2;
    ensure!(claims.len() == blocks, "{} of {blocks} blocks of code belong to an item", claims.len());
    Ok(claims)
}

/// The items of the numbered list, without indentation.
fn items(section: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in section.lines() {
        let number = line.split_once(". ").map_or("", |(number, _)| number);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            items.push(String::new());
        }
        if let Some(item) = items.last_mut() {
            item.push_str(line.trim());
            item.push('\n');
        }
    }
    items
}

/// An item is a question, one block or more with a command in each, and a folded answer.
fn claims_of(item: &str) -> Result<Vec<Claim>> {
    let (asked, answer) = item.split_once(FOLD).context("the item has no folded answer")?;
    let answer = answer.trim_end().strip_suffix(END_OF_FOLD).unwrap_or_default();
    ensure!(!answer.is_empty(), "the answer is empty, or has no blank line before `</details>`");
    let mut blocks = asked.split("```sh\n");
    ensure!(blocks.next().is_some_and(|question| question.contains("?**")), "the item asks nothing in bold");
    let claims = blocks.map(claim).collect::<Result<Vec<_>>>()?;
    ensure!(!claims.is_empty(), "the item has no command");
    Ok(claims)
}

/// The command of a block, with the comments below it.
fn claim(block: &str) -> Result<Claim> {
    let (command, notes) = block.split_once("\n```\n").context("a block of code has no end")?;
    let words =
        command.strip_prefix("./run ").filter(|words| !words.contains(['\n', '\'', '"', '|', '&', '$']));
    let words = words.with_context(|| format!("`{command}` is not one `./run …` that needs no shell"))?;
    ensure!(
        !words.starts_with("break run ") || words.contains(" --over "),
        "`{command}` does not say --over what"
    );
    let mut claim =
        Claim { words: words.split_whitespace().map(str::to_owned).collect(), ..Claim::default() };
    for line in notes.lines().filter(|line| !line.is_empty()) {
        let note = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
        match note.and_then(|note| note.split_once(": ")) {
            Some(("exits", code)) => claim.exits = code.parse().with_context(|| line.to_owned())?,
            Some(("shows", text)) => claim.shows.push(text.to_owned()),
            Some(("lacks", text)) => claim.lacks.push(text.to_owned()),
            Some(("line", texts)) => claim.lines.push(texts.split(", ").map(str::to_owned).collect()),
            Some(("faster", rows)) => {
                let (fast, slow) =
                    rows.split_once(", ").with_context(|| format!("`{line}` has no two rows"))?;
                claim.faster.push((fast.to_owned(), slow.to_owned()));
            }
            _ => bail!("`{line}` is not a comment with exits, shows, lacks, line or faster"),
        }
    }
    ensure!(!claim.shows.is_empty() || !claim.lines.is_empty(), "no comment says what `{command}` shows");
    Ok(claim)
}

/// The brokers that these commands need: they name a lab or a transport.
fn brokers(claims: &[Claim]) -> Vec<Broker> {
    let mut found: Vec<Broker> = claims.iter().flat_map(Claim::brokers).collect();
    found.sort();
    found.dedup();
    found
}

impl Claim {
    fn brokers(&self) -> Vec<Broker> {
        // A list needs no broker.
        if self.words.iter().take(2).any(|word| word == "list") {
            return Vec::new();
        }
        let named = |entry: &catalog::Entry| {
            self.words.iter().any(|word| *word == entry.name || word.as_str() == entry.transport)
        };
        catalog::entries().into_iter().filter(named).filter_map(|entry| entry.broker).collect()
    }

    /// Fails unless the command shows what its page says.
    fn holds(&self) -> Result<()> {
        let spoiled = (1..ATTEMPTS).all(|_| self.shown().is_err());
        if spoiled { self.shown() } else { Ok(()) }
    }

    fn shown(&self) -> Result<()> {
        let ran = self.run()?;
        let (command, all) = (self.words.join(" "), format!("{}{}", ran.out, ran.err));
        ensure!(
            ran.code == self.exits,
            "./run {command} ended with {}, not {}:\n{all}",
            ran.code,
            self.exits
        );
        for text in &self.shows {
            ensure!(all.contains(text.as_str()), "./run {command} does not show `{text}`:\n{all}");
        }
        for text in &self.lacks {
            ensure!(!all.contains(text.as_str()), "./run {command} shows `{text}`:\n{all}");
        }
        for texts in &self.lines {
            // Columns are as wide as their longest cell.
            let mut lines = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            let there = lines.any(|line| texts.iter().all(|text| line.contains(text.as_str())));
            ensure!(there, "./run {command} has no line with `{}`:\n{all}", texts.join("` and `"));
        }
        for (fast, slow) in &self.faster {
            let (high, low) = (rate(&ran.out, fast)?, rate(&ran.out, slow)?);
            ensure!(high > low, "./run {command}: `{fast}` is not faster than `{slow}`:\n{all}");
        }
        Ok(())
    }

    /// Runs it as `./run` does, with an output folder that goes away.
    fn run(&self) -> Result<Ran> {
        let (recipe, rest) = self.words.split_first().context("no recipe")?;
        // A node of RabbitMQ's takes seconds of CPU to start: tests share one.
        let url = if self.brokers().contains(&Broker::RabbitMq) {
            Some(format!("--url=rabbitmq={}", shared(Broker::RabbitMq)?.reveal()))
        } else {
            None
        };
        let rest: Vec<&str> = rest.iter().map(String::as_str).chain(url.as_deref()).collect();
        // As `./run` does: a page may name committed result sets.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no folder")?;
        let dir = tempfile::tempdir()?;
        let out = dir.path().join("result_set");
        match recipe.as_str() {
            "bench" => bench(&rest, &out),
            "regress" | "history" | "wrong-views" => {
                // `./run regress` has just built this program; here it is the one under test.
                let rest = rest.iter().map(|word| match *word {
                    "target/release/lab" => env!("CARGO_BIN_EXE_lab"),
                    word => word,
                });
                let rest: Vec<&str> = rest.collect();
                run_in(root, &[&[recipe.as_str()], &rest[..], &["--out", path(&out)?]].concat())
            }
            // What an optimised build would measure in addition is not what a page is about.
            "lab" => run(&[&["run", "--no-measure"], rest.as_slice()].concat()),
            // Nobody is there to type an answer: an empty one says "I don't know".
            "predict" => run(&[&["predict", "--answers", ""], rest.as_slice()].concat()),
            recipe => run_in(root, &[&[recipe], rest.as_slice()].concat()),
        }
    }
}

/// The rate in the first row of a table that has all these words, messages a second. It is the last one
/// in the row; a load stands before it.
fn rate(table: &str, row: &str) -> Result<f64> {
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let words = rows.find(|words| row.split_whitespace().all(|word| words.contains(&word)));
    let words = words.with_context(|| format!("there is no row `{row}`:\n{table}"))?;
    let at = words.iter().rposition(|word| word.ends_with("/s"));
    let at = at.with_context(|| format!("row `{row}` has no rate:\n{table}"))?;
    let before = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
    let (number, factor) = match words[at].trim_end_matches("/s") {
        "k" => (before, 1e3),
        "M" => (before, 1e6),
        number => (number, 1.0),
    };
    let number: f64 = number.parse().with_context(|| format!("row `{row}` has no number:\n{table}"))?;
    Ok(number * factor)
}

/// A page on which everything is as it should be.
const GOOD: &str = "# Page\n\n## Predict, run, explain\n\n1. There are labs. **Which?**\n   ```sh\n   \
    ./run list oneway-tcp\n   ```\n   <!-- shows: at-most-once -->\n   <!-- lacks: durable -->\n   \
    <details><summary>Answer</summary>\n\n   This one.\n\n   </details>\n\n## Read on\n";

fn faults_are_found() -> Result<()> {
    let good = claims(GOOD)?;
    ensure!(good.len() == 1 && good[0].words.join(" ") == "list oneway-tcp", "{good:?}");
    ensure!(good[0].exits == 0 && good[0].shows.len() == 1 && good[0].lacks.len() == 1, "{good:?}");
    for (part, instead, told) in [
        ("## Predict, run, explain", "## Try", "there is no `## Predict, run, explain`"),
        ("1. There", "There", "the section has no command"),
        ("**Which?**", "Look.", "asks nothing in bold"),
        ("./run list", "lab list", "is not one `./run …`"),
        ("./run list oneway-tcp", "./run list\n   ./run list", "is not one `./run …`"),
        ("./run list", "./run break run late-subscriber", "does not say --over what"),
        ("   <!-- shows: at-most-once -->\n", "", "no comment says what"),
        ("<!-- shows: at-most-once -->", "<!-- says: it -->", "is not a comment with"),
        ("<!-- lacks: durable -->", "<!-- exits: well -->", "exits: well"),
        ("<!-- lacks: durable -->", "<!-- faster: one -->", "has no two rows"),
        ("<details><summary>Answer</summary>", "Answer:", "no folded answer"),
        ("   This one.\n\n", "", "the answer is empty"),
        ("This one.\n\n", "This one.\n", "no blank line"),
        ("\n## Read on", "\n   ```sh\n   ./run list\n   ```\n", "blank line before"),
    ] {
        ensure!(GOOD.contains(part), "`{part}` is not part of the page");
        let bad = GOOD.replace(part, instead);
        let error = claims(&bad).err().with_context(|| format!("nothing was wrong with:\n{bad}"))?;
        ensure!(format!("{error:#}").contains(told), "`{told}` was not said, but {error:#}");
    }
    Ok(())
}

fn untrue() -> Result<()> {
    for (part, instead, told) in [
        ("shows: at-most-once", "shows: at-most-twice", "does not show `at-most-twice`"),
        ("lacks: durable", "lacks: oneway", "shows `oneway`"),
        ("lacks: durable", "exits: 3", "ended with 0, not 3"),
        ("lacks: durable", "line: oneway-tcp, durable", "has no line with `oneway-tcp` and `durable`"),
        ("lacks: durable", "faster: fast, slow", "there is no row `fast`"),
    ] {
        for claim in claims(&GOOD.replace(part, instead))? {
            let error = claim.shown().err().with_context(|| format!("`{instead}` was believed"))?;
            ensure!(format!("{error:#}").contains(told), "`{told}` was not said, but {error:#}");
        }
    }
    claims(GOOD)?.iter().try_for_each(Claim::shown)
}

fn rates() -> Result<()> {
    let table = "All with size 64 B, load 800/s.\n\nLAB  SHAPE  RECEIVED\na  1→1 depth=1  158/s  –\n\
                 a  1→2 depth=1  19.3 k/s  –\nb  64 B  1→1  800/s  2.5 M/s  1.2 ms\n";
    for (row, expected) in [("a 1→1", 158.0), ("1→2", 19_300.0), ("b", 2_500_000.0), ("a depth=1", 158.0)]
    {
        let found = rate(table, row)?;
        ensure!((found - expected).abs() < 0.5, "`{row}`: {found}, not {expected}");
    }
    ensure!(rate(table, "c").is_err() && rate(table, "LAB").is_err(), "a rate was found where there is none");
    Ok(())
}
