//! `lab list`: the catalog as a table, or the details of one lab.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use labs::catalog::ABSENT;
use labs::lab::{Broker, Knob, Recovery};
use serde::Serialize;

use super::table::{self, Column, Fate, render, wrap};
use crate::broker::{self, Missing, Source, embedded};
use crate::command::{BrokerArgs, usage};
use crate::roles::protocol::kinds;
use crate::roles::{self, Handle};
use crate::{hint, plan};

/// The table is never wider: it has to be readable in a file, too.
const WIDEST: usize = 100;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Names, globs (quoted: 'pubsub-*') or patterns (pubsub); default: all labs. A single name shows everything about that lab, with its knobs
    labs: Vec<String>,
    /// Show the combinations that are left out on purpose, and why
    #[arg(long)]
    absent: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    brokers: BrokerArgs,
}

/// One lab, as scripts read it.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    pattern: &'a str,
    transport: &'a str,
    variant: Option<&'a str>,
    /// `peer-to-peer` or `brokered`.
    topology: &'a str,
    broker: Option<&'a str>,
    guarantee: &'a str,
    overload: &'a str,
    join: &'a str,
    /// Who opens a lost connection again.
    recovery: &'a str,
    note: String,
    source: &'a str,
    /// The lab's own; those of the harness follow from its pattern.
    knobs: Vec<KnobRow>,
    runs: bool,
    why_not: Option<String>,
}

#[derive(Serialize)]
struct KnobRow {
    name: &'static str,
    default: usize,
    meaning: &'static str,
}

/// Combinations that are absent, as scripts read them.
#[derive(Serialize)]
struct AbsentRow {
    name: &'static str,
    why: &'static str,
}

pub(super) fn main(args: &ListArgs, handles: &[Handle]) -> Result<ExitCode> {
    let choices = args.brokers.choices()?;
    let width = table::width().min(WIDEST);
    if args.absent {
        return absent(args, width);
    }
    let chosen = usage(plan::select(handles, &args.labs))?;
    let found = Broker::ALL.map(|broker| (broker, broker::find(broker, &choices)));
    let rows: Vec<Row<'_>> = chosen.iter().map(|handle| row(handle, &found)).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let ([name], [handle], [row]) = (args.labs.as_slice(), chosen.as_slice(), rows.as_slice())
        && name == row.name
    {
        write!(out, "{}", page(handle, row, width))?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{}", overview(&rows, width))?;
    for (broker, found) in &found {
        let mut over = rows.iter().filter(|row| row.broker == Some(broker.as_str()));
        let said = match found {
            Err(why) if over.next().is_some() => vec![format!("Labs over {broker} cannot run here: {why}")],
            Ok(Source::Embedded) => {
                let why_not = over.find_map(|row| Some((row.name, row.why_not.as_ref()?)));
                let cannot = why_not.map(|(name, why)| format!("{name} cannot: {why}"));
                [format!("Labs over {broker} run over {}.", embedded::VERSION)]
                    .into_iter()
                    .chain(cannot)
                    .collect()
            }
            _ => Vec::new(),
        };
        for text in said {
            writeln!(out, "\n{}", wrap(&text, width).join("\n"))?;
        }
    }
    let commands = [
        ("One lab, with its knobs:", hint::command(&["list", "LAB"])),
        ("Run one:", hint::command(&["run", "LAB"])),
        ("Measure them:", hint::command(&["bench"])),
        ("Labs left out, and why:", hint::command(&["list", "--absent"])),
    ];
    writeln!(out)?;
    for (what, command) in commands {
        writeln!(out, "{what:<31}{command}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Combinations that are left out on purpose, those that match.
fn absent(args: &ListArgs, width: usize) -> Result<ExitCode> {
    let wanted = |name: &str| {
        let pattern = name.split('-').next().unwrap_or(name);
        args.labs.is_empty() || args.labs.iter().any(|want| want == pattern || labs::topic::glob(want, name))
    };
    let rows: Vec<AbsentRow> = ABSENT
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, why)| AbsentRow { name, why })
        .collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let longest = rows.iter().map(|row| row.name.len()).max().unwrap_or(0) + 2;
    for AbsentRow { name, why } in &rows {
        put(&mut out, name, &format!("{why}."), longest, width)?;
    }
    if rows.is_empty() {
        writeln!(out, "No combination that matches is left out.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A word, and wrapped text beside it.
fn put(out: &mut impl std::io::Write, word: &str, text: &str, indent: usize, width: usize) -> Result<()> {
    let lines = wrap(text, width.saturating_sub(indent).max(20));
    for (at, line) in lines.iter().enumerate() {
        writeln!(out, "{:<indent$}{line}", if at == 0 { word } else { "" })?;
    }
    Ok(())
}

fn overview(rows: &[Row<'_>], width: usize) -> String {
    let columns = [
        Column("LAB", Fate::Stays),
        Column("BROKER", Fate::Stays),
        Column("GUARANTEE", Fate::Stays),
        Column("OVERLOAD", Fate::Stays),
        Column("JOIN", Fate::Stays),
        Column("PARTICULAR", Fate::Wraps),
    ];
    let rows: Vec<table::Row> = rows
        .iter()
        .map(|row| {
            let broker = match (row.broker, row.runs) {
                (None, _) => "none".to_owned(),
                (Some(broker), true) => broker.to_owned(),
                // Why, is said below the table.
                (Some(broker), false) => format!("no {broker}"),
            };
            // The pattern decides what the note is about.
            let particular = row.note.split_once(": ").map_or(row.note.as_str(), |(_, value)| value);
            let cells = [row.name, &broker, row.guarantee, row.overload, row.join, particular];
            table::Row { cells: cells.map(str::to_owned).to_vec(), below: Vec::new() }
        })
        .collect();
    render(&columns, &rows, width)
}

/// All about one lab.
fn page(handle: &Handle, row: &Row<'_>, width: usize) -> String {
    const INDENT: usize = 13;
    let entry = &handle.entry;
    let name = row.name;
    let mut text = Vec::new();
    let broker = match (row.broker, &row.why_not) {
        (None, _) => "none: the peers connect directly".to_owned(),
        (Some(broker), None) => format!("{broker}, which can run here"),
        (Some(broker), Some(why)) => format!("{broker}, which cannot run here: {why}"),
    };
    let particular = row.note.split_once(": ");
    let facts = [
        (
            "guarantee",
            format!("{} (docs/faults.md says what that covers, and what runs have shown)", row.guarantee),
        ),
        ("joining", row.join.to_owned()),
        ("recovery", recovery(entry.recovery).to_owned()),
        ("overload", format!("{} when the receiving side is too slow", overload(row.overload))),
        (particular.map_or("", |(what, _)| what), particular.map_or("", |(_, value)| value).to_owned()),
        ("broker", broker),
        ("source", row.source.to_owned()),
        ("docs", format!("docs/patterns/{}.md, docs/transports/{}.md", row.pattern, row.transport)),
    ];
    let mut said = |word: &str, value: &str| {
        // Writing to memory cannot fail.
        let _ = put(&mut text, word, value, INDENT, width);
    };
    for (word, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        said(word, value);
    }
    let mut page = format!("{name}\n\n{}", String::from_utf8_lossy(&text));
    for (title, knobs) in [
        ("Its knobs, set with --set KNOB=VALUE:", entry.knobs),
        ("Knobs of the loops that measure it:", roles::knobs(entry.pattern)),
    ] {
        if !knobs.is_empty() {
            page += &format!("\n{title}\n{}", knobs_of(knobs, width));
        }
    }
    page += "\nCommands:\n";
    let mut commands =
        vec![("run it", hint::command(&["run", name])), ("measure it", hint::command(&["bench", name]))];
    if !entry.in_process() {
        commands.push(("break it", hint::command(&["break", name, "--fault", "link-cut"])));
    }
    if let Some(knob) = entry.knobs.first() {
        let set = format!("{}={}", knob.name, if knob.default == 0 { 1 } else { knob.default / 2 });
        commands.push(("set a knob", hint::command(&["bench", name, "--set", &set])));
    }
    if !entry.in_process()
        && let Some(first) = kinds(entry.pattern).iter().find(|kind| !kind.binds(false).is_empty())
    {
        commands.push(("play a role", hint::command(&["play", name, first.as_str()])));
    }
    for (what, command) in commands {
        page += &format!("  {what:<16}{command}\n");
    }
    page
}

/// Who opens a lost connection again.
fn recovery(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::Client => "the client library opens a lost connection again",
        Recovery::Ours => "a lost connection is opened again (labs/src/recovery)",
        Recovery::Nobody => "there is no connection that could be lost",
    }
}

/// The effect of an overload policy, as the end of a sentence.
fn overload(policy: &str) -> &str {
    match policy {
        "waits" => "the sender waits",
        "drops" => "messages are dropped",
        "disconnects" => "the slow receiver is disconnected",
        _ => "messages are stored",
    }
}

fn knobs_of(knobs: &[Knob], width: usize) -> String {
    let name = knobs.iter().map(|knob| knob.name.len()).max().unwrap_or(0);
    let default = knobs.iter().map(|knob| knob.default.to_string().len()).max().unwrap_or(0);
    let mut text = Vec::new();
    for knob in knobs {
        let word = format!("  {:<name$}  {:>default$}", knob.name, knob.default);
        // Writing to memory cannot fail.
        let _ = put(&mut text, &word, knob.meaning, 6 + name + default, width);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn row<'a>(handle: &'a Handle, found: &[(Broker, Result<Source, Missing>)]) -> Row<'a> {
    let entry = &handle.entry;
    let source = found.iter().find(|(broker, _)| Some(*broker) == entry.broker);
    let why_not = source.and_then(|(_, found)| match found {
        Ok(source) => source.refuses(entry.guarantee),
        Err(missing) => Some(missing.to_string()),
    });
    let knob = |knob: &Knob| KnobRow { name: knob.name, default: knob.default, meaning: knob.meaning };
    Row {
        name: &entry.name,
        pattern: entry.pattern.as_str(),
        transport: entry.transport,
        variant: entry.variant,
        topology: if entry.broker.is_some() { "brokered" } else { "peer-to-peer" },
        broker: entry.broker.map(Broker::as_str),
        guarantee: entry.guarantee.as_str(),
        overload: entry.overload.as_str(),
        join: entry.join.as_str(),
        recovery: entry.recovery.as_str(),
        note: entry.particular.to_string(),
        source: &entry.source,
        knobs: entry.knobs.iter().map(knob).collect(),
        runs: why_not.is_none(),
        why_not,
    }
}
