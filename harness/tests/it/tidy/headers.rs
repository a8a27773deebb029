//! The header of a lab, the `//!` lines of its file: what it is, then four sections in a fixed
//! order, then how to run it. A reader who has only the pattern's contract needs nothing else to
//! know what the lab does when something fails.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use harness::roles;

use super::root;

/// How the sections begin: what goes over the wire, what is confirmed, what survives what, and
/// what is lost.
const SECTIONS: [&str; 4] = ["Wire:", "Confirms:", "Survives:", "Loses:"];

pub(super) fn have_all_sections() -> Result<()> {
    let handles = roles::handles();
    ensure!(handles.len() > 50, "only {} labs were found: the test no longer sees them", handles.len());
    for handle in handles {
        let entry = &handle.entry;
        let text = fs::read_to_string(root().join(&entry.source)).with_context(|| entry.source.clone())?;
        check(&header(&text), &entry.name).with_context(|| format!("the header of {}", entry.source))?;
    }
    Ok(())
}

/// The `//!` lines that a file begins with, without their marks.
fn header(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Every paragraph but the first and the last is a section, or a block of code in one.
fn check(header: &str, lab: &str) -> Result<()> {
    let paragraphs: Vec<&str> = header.split("\n\n").collect();
    let [opening, between @ .., last] = &paragraphs[..] else {
        bail!("it has one paragraph, and no sections");
    };
    ensure!(section(opening).is_none(), "it does not begin by saying what the lab is");
    let command = format!("`just lab {lab}`");
    ensure!(last.contains(&command), "its last paragraph does not name {command}");
    let mut sections = Vec::new();
    for paragraph in between.iter().filter(|paragraph| !paragraph.starts_with("```")) {
        let first = paragraph.lines().next().unwrap_or_default();
        let name =
            section(paragraph).with_context(|| format!("`{first}` begins no section of {SECTIONS:?}"))?;
        ensure!(paragraph.len() > name.len() + 1, "its section `{name}` is empty");
        sections.push(name);
    }
    ensure!(sections == SECTIONS, "its sections are {sections:?} instead of {SECTIONS:?}");
    Ok(())
}

/// The section that a paragraph is.
fn section(paragraph: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|name| paragraph.starts_with(name))
}

pub(super) fn faults_are_found() -> Result<()> {
    let check = |paragraphs: &[&str], expected: Option<&str>| {
        let file = format!("//! {}\n\nuse bytes::Bytes;\n", paragraphs.join("\n\n").replace('\n', "\n//! "));
        let found = check(&header(&file.replace("//! \n", "//!\n")), "oneway-tcp");
        let found = found.err().map(|error| error.to_string());
        let as_expected = match (&found, expected) {
            (None, None) => true,
            (Some(found), Some(expected)) => found.contains(expected),
            _ => false,
        };
        ensure!(as_expected, "found {found:?} instead of {expected:?} in {paragraphs:?}");
        Ok(())
    };
    let (is, run) = ("One-way over TCP.", "Run it with `just lab oneway-tcp`.");
    let [wire, confirms, survives, loses] =
        ["Wire: a frame,\na body.", "Confirms: nothing.", "Survives: a sender.", "Loses: the rest."];
    check(&[is, wire, confirms, survives, loses, run], None)?;
    check(&[is, wire, "```text\nA → B\n```", confirms, survives, loses, run], None)?;
    check(&[is], Some("one paragraph"))?;
    check(&[wire, confirms, survives, loses, run], Some("what the lab is"))?;
    check(&[is, wire, confirms, survives, loses], Some("`just lab oneway-tcp`"))?;
    check(&[is, wire, confirms, survives, loses, "Run it with `just lab oneway-tcp-x`."], Some("`just lab"))?;
    check(&[is, wire, confirms, survives, run], Some("its sections are"))?;
    check(&[is, confirms, wire, survives, loses, run], Some("its sections are"))?;
    check(&[is, wire, wire, confirms, survives, loses, run], Some("its sections are"))?;
    check(&[is, "Promises: order.", wire, confirms, survives, loses, run], Some("begins no section"))?;
    check(&[is, wire, "Confirms:", survives, loses, run], Some("is empty"))
}
