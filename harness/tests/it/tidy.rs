//! What has to stay true of the source: who may import whom, files that can be
//! read in one sitting, links that lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use harness::{book, roles};
use labs::catalog::{self, Pattern};
use libtest_mimic::Trial;

use crate::trial;

mod circles;
mod headers;
mod scorecard;

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("tidy::labs_know_neither_harness_nor_clock", labs_know_no_clock),
        trial("tidy::modules_import_only_what_they_may", imports),
        trial("tidy::modules_import_in_no_circle", circles::none),
        trial("tidy::circles_of_imports_are_found", circles::are_found),
        trial("tidy::files_can_be_read_in_one_sitting", lengths),
        trial("tidy::headers_of_labs_have_all_sections", headers::have_all_sections),
        trial("tidy::faults_in_headers_are_found", headers::faults_are_found),
        trial("tidy::tables_of_the_documentation_are_the_catalog", tables),
        trial("tidy::every_transport_and_pattern_has_its_page", lab_pages),
        trial("tidy::every_knob_is_explained", knobs),
        trial("tidy::what_is_absent_is_named_once_and_no_lab", absent),
        trial("tidy::commands_are_suggested_by_one_module", hints),
        trial("tidy::labs_promise_no_more_than_the_scorecard_shows", scorecard::constants_promise_no_more),
        trial("tidy::broken_promise_in_the_scorecard_is_found", scorecard::broken_promise_is_found),
        trial("tidy::links_lead_somewhere", links),
        trial("tidy::committed_schema_is_the_current_one", schema),
        trial("tidy::exceptions_are_expected_not_allowed", no_allow),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Files with this ending below a folder of the project, with their text.
fn files(below: &str, ending: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut next = vec![root().join(below)];
    while let Some(path) = next.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("{}", path.display()))? {
                next.push(entry?.path());
            }
        } else if path.extension().is_some_and(|found| found == ending) {
            let name = path.strip_prefix(root())?.display().to_string();
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    ensure!(!found.is_empty(), "there is no .{ending} file in {below}");
    found.sort();
    Ok(found)
}

/// The code without comments and without the tests at the end of a file.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

/// What follows `path` (as in `crate::`) in the code, also in braces: the
/// modules that are imported from there.
fn imported(code: &str, path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(path) {
        let rest = &code[at + path.len()..];
        let word = |text: &str| -> String {
            text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (1, 0);
        for (index, char) in list.char_indices() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    found.insert(word(&list[start..index]));
                    start = index + 1;
                }
                _ => {}
            }
            if depth == 0 {
                found.insert(word(&list[start..index]));
                break;
            }
        }
    }
    found.remove("");
    found
}

fn labs_know_no_clock() -> Result<()> {
    let manifest = fs::read_to_string(root().join("labs/Cargo.toml"))?;
    ensure!(!manifest.contains("harness"), "labs/Cargo.toml depends on the harness");
    for (name, text) in files("labs/src", "rs")? {
        let code = code(&text);
        for word in ["harness", "Instant", "SystemTime", "clock", "elapsed"] {
            // A deadline of tokio's is a timer; nothing can be measured with it but by `elapsed`.
            let timer = word == "Instant" && code.contains("use tokio::time::Instant;");
            ensure!(
                timer || !code.contains(word),
                "{name} has `{word}`: labs neither measure nor know who does"
            );
        }
    }
    Ok(())
}

/// A part of the harness, the only modules of it that this part may import, and
/// the part of `labs` that it may know, where that is not all of it.
type Rule = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

const MAY_IMPORT: [Rule; 6] = [
    ("harness/src/measure", &["measure", "process", "stats", "results"], Some(&[])),
    ("harness/src/roles", &["roles", "measure", "stats", "results"], None),
    ("harness/src/report", &["report", "results", "stats", "hint"], Some(&[])),
    ("harness/src/validate/pitfalls", &["measure", "report", "results", "stats", "hint"], Some(&[])),
    ("harness/src/stats", &["stats", "results"], Some(&[])),
    ("harness/src/broker", &["broker", "process", "measure", "hint"], Some(&["lab", "printable"])),
];

fn imports() -> Result<()> {
    for (folder, may, labs) in MAY_IMPORT {
        for (name, text) in files(folder, "rs")?.into_iter().filter(|(name, _)| !is_test(name)) {
            let code = code(&text);
            for module in imported(&code, "crate::") {
                ensure!(
                    may.contains(&module.as_str()),
                    "{name} imports `crate::{module}`; it may import {may:?}"
                );
            }
            let Some(labs) = labs else { continue };
            for module in imported(&code, "labs::") {
                ensure!(
                    labs.contains(&module.as_str()),
                    "{name} imports `labs::{module}`; it may import {labs:?}"
                );
            }
        }
    }
    Ok(())
}

/// A file of this many lines can be read in one sitting.
const LONGEST: usize = 400;

/// Longer ones, each with its reason: there is none.
const LONGER: [(&str, &str); 0] = [];

fn lengths() -> Result<()> {
    for (name, text) in [files("labs", "rs")?, files("harness", "rs")?].concat() {
        let (lines, excused) = (text.lines().count(), LONGER.iter().any(|(longer, _)| *longer == name));
        ensure!(lines <= LONGEST || excused, "{name} has {lines} lines; what could be a file of its own?");
        ensure!(lines > LONGEST || !excused, "{name} has {lines} lines and needs no exception any more");
    }
    Ok(())
}

fn tables() -> Result<()> {
    for name in book::pages(&root())? {
        let text = fs::read_to_string(root().join(&name))?;
        let stale = book::filled(&root(), &name, &text)? != text;
        ensure!(!stale, "the tables of {} are out of date; run `target/debug/lab book`", name.display());
    }
    let table = fs::read_to_string(root().join(book::TABLE))?;
    let stale = table != book::table_source()?;
    ensure!(!stale, "{} is out of date; run `target/debug/lab book`", book::TABLE);
    let readme = fs::read_to_string(root().join("README.md"))?;
    for entry in catalog::entries() {
        let link = format!("[`{}`]({})", entry.name, entry.source);
        ensure!(readme.contains(&link), "the README's table lacks {link}");
    }
    Ok(())
}

/// The page of a transport or a pattern, which has the table of its labs.
fn page(kind: &str, name: &str) -> Result<String> {
    let path = format!("docs/{kind}s/{name}.md");
    let text = fs::read_to_string(root().join(&path)).with_context(|| format!("there is no {path}"))?;
    let marker = format!("<!-- labs: {kind} {name} -->");
    ensure!(text.contains(&marker), "{path} lacks `{marker}`");
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md"))?;
    ensure!(summary.contains(&format!("({kind}s/{name}.md)")), "docs/SUMMARY.md lacks {path}");
    Ok(text)
}

fn lab_pages() -> Result<()> {
    for pattern in Pattern::ALL {
        page("pattern", pattern.as_str())?;
    }
    for entry in catalog::entries() {
        let known = book::TRANSPORTS.iter().any(|(transport, _)| *transport == entry.transport);
        ensure!(known, "`{}` has no name for people in harness/src/book.rs", entry.transport);
        page("transport", entry.transport)?;
    }
    Ok(())
}

/// What a student can turn is explained where the transport is, by its name.
fn knobs() -> Result<()> {
    let mut seen = 0;
    for entry in catalog::entries() {
        let explained = page("transport", entry.transport)?;
        for knob in entry.knobs {
            let page = format!("docs/transports/{}.md", entry.transport);
            let name = knob.name;
            ensure!(
                explained.contains(&format!("`{name}`")),
                "{page} does not explain `{name}` of {}",
                entry.name
            );
            let one_line = !knob.meaning.contains('\n') && knob.meaning.len() <= 90;
            ensure!(
                one_line && knob.meaning.ends_with('.'),
                "the meaning of `{name}` of {} is not one short sentence: {}",
                entry.name,
                knob.meaning
            );
            seen += 1;
        }
    }
    let method = fs::read_to_string(root().join("docs/method.md"))?;
    for pattern in Pattern::ALL {
        for knob in roles::knobs(pattern) {
            ensure!(method.contains(&format!("| `{}`", knob.name)), "docs/method.md lacks `{}`", knob.name);
        }
    }
    ensure!(seen > 60, "only {seen} knobs were found: the test no longer sees them");
    Ok(())
}

fn absent() -> Result<()> {
    let labs: BTreeSet<String> = catalog::entries().into_iter().map(|entry| entry.name).collect();
    let mut seen = BTreeSet::new();
    for (name, _) in catalog::ABSENT {
        ensure!(seen.insert(name), "{name} is absent twice");
        ensure!(!labs.contains(name), "{name} is absent, and a lab");
    }
    Ok(())
}

/// Commands that messages suggested with fixed words, before one module wrote them.
const COMMANDS: [&str; 25] = [
    "run",
    "play",
    "dead",
    "predict",
    "bench",
    "list",
    "report",
    "regress",
    "doctor",
    "chat",
    "crack",
    "status",
    "preinit",
    "bridge",
    "selftest",
    "agree",
    "history",
    "export",
    "diff",
    "site",
    "manifest",
    "wrong-views",
    "correlation",
    "compare",
    "break",
];

/// Suggestions that are written out in code, with the line they are in.
fn written_out(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let suggests = |line: &&str| {
        let command = COMMANDS.iter().any(|command| {
            let words = format!("lab {command}");
            // A word of its own: not `a lab runs`.
            line.match_indices(&words).any(|(at, _)| {
                !line[at + words.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '-')
                    && !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-')
            })
        });
        // The name of a suite in a JUnit file is a name.
        command && !line.contains("<testsuite name=") || line.contains("`just ") || line.contains("\"just ")
    };
    lines.filter(suggests).map(|line| line.trim().to_owned()).collect()
}

/// Help texts are comments of clap's, and say `lab …`.
fn hints() -> Result<()> {
    ensure!(
        written_out("eprintln!(\"go on with lab bench --resume\");").len() == 1,
        "the check sees nothing"
    );
    ensure!(
        written_out("/// As `lab bench` does\nformat!(\"a lab runs\")").is_empty(),
        "the check sees too much"
    );
    for (name, text) in files("harness/src", "rs")? {
        if name != "harness/src/hint.rs" && !is_test(&name) {
            let found = written_out(&text);
            ensure!(found.is_empty(), "{name} suggests without `hint::command`: {found:?}");
        }
    }
    Ok(())
}

fn links() -> Result<()> {
    let mut documents = files("docs", "md")?;
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        documents.push((name.to_owned(), fs::read_to_string(root().join(name))?));
    }
    let mut seen = 0;
    for (name, text) in documents {
        let folder = root().join(&name).parent().map(Path::to_owned).unwrap_or_default();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root().join(&name) } else { folder.join(file) };
            ensure!(path.exists(), "{name} links to {target}, which is not there");
            if !anchor.is_empty() && path.extension().is_some_and(|ending| ending == "md") {
                let there = anchors(&fs::read_to_string(&path)?);
                ensure!(there.contains(anchor), "{name} links to {target}; its headings are {there:?}");
            }
            seen += 1;
        }
    }
    ensure!(seen > 50, "only {seen} links were found: the test no longer sees them");
    Ok(())
}

/// The anchors that code hosts and mdBook make of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn schema() -> Result<()> {
    for (file, what, current) in [
        ("docs/schema.json", "run", harness::results::schema()?),
        ("docs/faults-schema.json", "faults", harness::results::fault_schema()?),
        ("docs/scenarios-schema.json", "scenarios", harness::results::scenario_schema()?),
    ] {
        if fs::read_to_string(root().join(file))? != current {
            bail!("{file} is out of date; run `lab schema {what} > {file}`");
        }
    }
    Ok(())
}

fn no_allow() -> Result<()> {
    // In two parts, so that this file does not find itself.
    let words = [["#[", "allow("].concat(), ["#![", "allow("].concat()];
    for (name, text) in [files("labs", "rs")?, files("harness", "rs")?].concat() {
        ensure!(
            !words.iter().any(|word| text.contains(word)),
            "{name} allows what it should expect, with a reason"
        );
    }
    Ok(())
}
