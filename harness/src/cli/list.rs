//! `lab list`: the catalog.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::{Table, TableStyle};
use labs::catalog::ABSENT;
use labs::lab::Broker;
use serde::Serialize;

use super::{BrokerArgs, usage};
use crate::broker::{self, Missing, Source, embedded};
use crate::role::Handle;
use crate::{hint, plan};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Names, globs (quoted: 'pubsub-*') or patterns (pubsub); all labs without one
    labs: Vec<String>,
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
    note: String,
    source: &'a str,
    runs: bool,
    why_not: Option<String>,
}

pub(super) fn main(args: &ListArgs, handles: &[Handle]) -> Result<ExitCode> {
    let urls = args.brokers.urls()?;
    let chosen = usage(plan::select(handles, &args.labs))?;
    let found = Broker::ALL.map(|broker| (broker, broker::find(broker, &urls)));
    let rows: Vec<Row<'_>> = chosen.iter().map(|handle| row(handle, &found)).collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header([
        "LAB",
        "",
        "GUARANTEE",
        "OVERLOAD",
        "PARTICULAR",
        "READ",
    ]);
    for row in &rows {
        let name = if row.runs { row.name.to_owned() } else { format!("{} (cannot run)", row.name) };
        table.add_row([&name, row.topology, row.guarantee, row.overload, &row.note, row.source]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    for (broker, found) in &found {
        let mut over = rows.iter().filter(|row| row.broker == Some(broker.as_str()));
        match found {
            Err(why) if over.next().is_some() => {
                writeln!(out, "\nLabs over {broker} cannot run here: {why}")?;
            }
            Ok(Source::Embedded) => {
                writeln!(out, "\nLabs over {broker} run over {}.", embedded::VERSION)?;
                let why_not = over.find_map(|row| Some((row.name, row.why_not.as_ref()?)));
                if let Some((name, why)) = why_not {
                    writeln!(out, "{name} cannot: {why}")?;
                }
            }
            _ => {}
        }
    }
    if args.labs.is_empty() {
        for (name, why) in ABSENT {
            writeln!(out, "\nThere is no {name}: {why}.")?;
        }
    }
    writeln!(
        out,
        "\nRun one with `{}`; measure them with `{}`.",
        hint::command(&["run", "NAME"]),
        hint::command(&["bench"])
    )?;
    Ok(ExitCode::SUCCESS)
}

fn row<'a>(handle: &'a Handle, found: &[(Broker, Result<Source, Missing>)]) -> Row<'a> {
    let entry = &handle.entry;
    let source = found.iter().find(|(broker, _)| Some(*broker) == entry.broker);
    let why_not = source.and_then(|(_, found)| match found {
        Ok(source) => source.refuses(entry.guarantee),
        Err(missing) => Some(missing.to_string()),
    });
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
        note: entry.particular.to_string(),
        source: &entry.source,
        runs: why_not.is_none(),
        why_not,
    }
}
