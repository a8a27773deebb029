//! Commands that the documentation shows: the recipe exists, and `lab` takes every option of it.
//! Those that a reader is asked to run and explain are run by [`crate::try_it`], and all others by [`runs`],
//! which takes long.

mod runs;
mod sandbox;
mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::needs::{Need, needs, proof};
use crate::program::code;
use crate::{lab, trial};

pub(crate) use runs::{measuring, told};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = runs::trials();
    trials.extend([
        trial("documented::commands_are_taken", commands),
        trial("documented::wrong_commands_are_found", wrong),
        proof(needs(
            Need::Program("mdbook", "mdbook"),
            "documented::book_builds_and_its_links_lead_somewhere",
            book,
        )),
    ]);
    trials
}

/// Recipes of `./run` that are no command of `lab`.
const OWN: [&str; 18] = [
    "test",
    "prove",
    "fuzz",
    "clippy",
    "fmt",
    "ci",
    "build-times",
    "bench-micro",
    "bench-save",
    "bench-against",
    "ratios",
    "chat-load",
    "regress-proof",
    "book",
    "brokers",
    "example",
    "features",
    "build",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// All files below a folder whose names have this ending.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, ending, found)?;
        } else if path.extension().is_some_and(|its| its == ending) {
            found.push(path);
        }
    }
    Ok(())
}

/// The pages that show commands.
fn pages() -> Result<Vec<PathBuf>> {
    let mut all = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in ["docs", "labs/exercises"] {
        files(&root().join(folder), "md", &mut all)?;
    }
    all.sort();
    Ok(all)
}

/// The commands in the blocks of a page that are for a shell.
fn shown(text: &str) -> Vec<Vec<String>> {
    lines(text).iter().filter_map(|line| words(line)).collect()
}

/// The lines with these commands. One that ends with a backslash goes on.
fn lines(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.replace("\\\n", "").lines() {
        let line = line.trim();
        if line.starts_with("```") {
            inside = !inside && ["```sh", "```bash", "```console"].contains(&line);
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if inside && ["./run ", "just ", "lab "].iter().any(|program| line.starts_with(program)) {
            found.push(line.to_owned());
        }
    }
    found
}

/// The words of a command, without what a shell does around it. A shell takes no part.
fn words(line: &str) -> Option<Vec<String>> {
    // What only a shell can fill in.
    if line.contains("$(") || line.contains('`') {
        return None;
    }
    let all = shlex::split(line)?;
    let ends = |word: &String| ["|", "&&", "&", ">", "2>", ">>", "2>&1", "#"].contains(&word.as_str());
    let end = all.iter().position(ends).unwrap_or(all.len());
    // A place that a reader fills in.
    let filled = all[..end].iter().filter(|word| !["…", "[...]"].contains(&word.as_str()));
    Some(filled.cloned().collect())
}

/// What `lab` gets, where a recipe calls it.
fn mapped(command: &[String]) -> Option<Vec<String>> {
    let (program, [recipe, rest @ ..]) = command.split_first()? else { return None };
    let called: &[&str] = match recipe.as_str() {
        "lab" if program != "lab" => &["run"],
        "compare" if program != "lab" => &["bench", "--plan", "quick"],
        other => &[other],
    };
    Some(called.iter().map(|word| (*word).to_owned()).chain(rest.iter().cloned()).collect())
}

/// Says what is wrong with a command.
fn check(command: &[String], recipes: &BTreeSet<String>) -> Result<()> {
    let [program, recipe, ..] = command else { return Ok(()) };
    let by_run = program != "lab";
    ensure!(!by_run || recipes.contains(recipe), "there is no recipe {recipe}");
    if by_run && OWN.contains(&recipe.as_str()) {
        return Ok(());
    }
    let mapped = mapped(command).context("no recipe")?;
    // All words in front of it are read first; what follows `--` is for another program.
    let words = mapped.iter().map(String::as_str).take_while(|word| *word != "--");
    let output = lab(&words.chain(["--help"]).collect::<Vec<_>>()).output()?;
    ensure!(code(output.status) == 0, "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn recipes() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(root().join("justfile"))?;
    let names = text.lines().filter_map(|line| {
        let name: String = line.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        (!name.is_empty() && line.ends_with(':')).then_some(name)
    });
    Ok(names.collect())
}

fn commands() -> Result<()> {
    let recipes = recipes()?;
    ensure!(recipes.len() > 30, "only {} recipes", recipes.len());
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for page in pages()? {
        for command in shown(&fs::read_to_string(&page)?) {
            if !seen.insert(command.clone()) {
                continue;
            }
            if let Err(error) = check(&command, &recipes) {
                wrong.push(format!("{}: {}: {error:#}", page.display(), command.join(" ")));
            }
        }
    }
    ensure!(seen.len() > 100, "only {} commands were found", seen.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn wrong() -> Result<()> {
    let recipes = recipes()?;
    for (line, holds) in [
        ("./run lab pubsub-redis   # a comment", true),
        ("./run bench 'oneway-*' --size 1k | tail -1", true),
        ("lab check rooms --seed 7", true),
        ("just lab pubsub-redis", true),
        ("./run labs pubsub-redis", false),
        ("./run bench --sice 1k", false),
        ("lab grade x --format gradscope", false),
        ("lab chek rooms", false),
    ] {
        let words = words(line).context("words")?;
        ensure!(check(&words, &recipes).is_ok() == holds, "{line}");
    }
    let page = "```sh\n$ ./run list\n```\nlab no\n```text\nlab no\n```\n```sh\nlab list --json \\\n  pubsub > x\n```\n";
    let found: Vec<String> = shown(page).iter().map(|words| words.join(" ")).collect();
    ensure!(found == ["./run list", "lab list --json pubsub"], "{found:?}");
    Ok(())
}

/// The values of an attribute in a page.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&begin)?;
        let (value, behind) = behind.split_once('"')?;
        rest = behind;
        Some(value)
    })
}

/// Builds the book as a reader does, and follows every link in it.
fn book() -> Result<()> {
    let output = Command::new(root().join("run")).arg("book").stdin(Stdio::null()).output()?;
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(code(output.status) == 0 && !told.contains("WARN") && !told.contains("ERROR"), "{told}");
    let index = PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().context("no path")?);
    let home = index.parent().context("no folder")?;
    let mut html = Vec::new();
    files(home, "html", &mut html)?;
    ensure!(html.len() > 60, "only {} pages", html.len());
    let (mut links, mut dead) = (0, Vec::new());
    for page in &html {
        // Its links begin at the root of a site.
        if page.ends_with("404.html") {
            continue;
        }
        let text = fs::read_to_string(page)?;
        for link in attributes(&text, "href").chain(attributes(&text, "src")) {
            if link.contains(':') || link.is_empty() {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.parent().context("no folder")?;
            let target = if path.is_empty() { page.clone() } else { folder.join(path) };
            let holds = target.exists()
                && (anchor.is_empty()
                    || target.extension().is_none_or(|ending| ending != "html")
                    || attributes(&fs::read_to_string(&target)?, "id").any(|id| id == anchor));
            if !holds {
                dead.push(format!("{}: {link}", page.strip_prefix(home).unwrap_or(page).display()));
            }
        }
    }
    ensure!(links > 1_000, "only {links} links");
    dead.sort();
    dead.dedup();
    ensure!(dead.is_empty(), "{}", dead.join("\n"));
    Ok(())
}
