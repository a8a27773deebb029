//! How runs and faults are shown.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::command::usage;
use crate::failure;
use crate::fault::{self, BrokerSource};
use crate::results::{FaultRun, Verdict};
use crate::roles::Handle;
use crate::{hint, plan};

/// Exit code where nothing can be said.
pub(super) const CANNOT_TELL: u8 = 3;

/// What a line says behind the verdict, where it is no good one.
pub(super) fn detail(run: &FaultRun) -> String {
    match run.verdict {
        Verdict::Kept => String::new(),
        _ => format!(": {}", run.why),
    }
}

/// The account of one run.
pub(super) fn print(run: &FaultRun) -> Result<()> {
    let ms = |ns: Option<u64>| ns.map_or("unknown".to_owned(), |ns| format!("{:.0} ms", ns as f64 / 1e6));
    let (times, counts) = (&run.times, &run.counts);
    outln!("\n{} under {}: {}", run.lab, run.fault(), run.verdict)?;
    outln!("  {}", run.why)?;
    outln!("  promised:         {}", run.guarantee)?;
    if let Some(note) = &run.guarantee_note {
        outln!("                    ({note})")?;
    }
    outln!("  noticed after:    {}", ms(times.detect_ns))?;
    outln!("  without service:  {}", ms(times.without_service_ns))?;
    outln!("  recovered after:  {}", ms(times.recover_ns))?;
    outln!("  backlog:          {} messages, gone after {}", times.backlog.unwrap_or(0), ms(times.drain_ns))?;
    outln!(
        "  sent {}, confirmed {}, received {}, refused {}",
        counts.sent,
        counts.confirmed,
        counts.received,
        counts.refused
    )?;
    outln!(
        "  lost: {} confirmed, {} unconfirmed; {} indeterminate, {} unaccounted for",
        counts.confirmed_lost.total(),
        counts.unconfirmed_lost,
        counts.indeterminate,
        counts.unaccounted
    )?;
    outln!(
        "  received again: {}, of these marked {}; out of order {}; connections opened again {}",
        counts.duplicated,
        counts.duplicated_marked,
        counts.reordered,
        counts.reconnects
    )?;
    if let Some(witness) = &run.witness {
        outln!("  witness: {}", witness.what)?;
        for step in &witness.steps {
            outln!("    {:>9.3} s  {}", step.at as f64 / 1e9, step.what)?;
        }
    }
    outln!("  again: {}", run.command)?;
    Ok(())
}

/// The scenarios, for scripts.
fn scenarios(handles: &[Handle]) -> Vec<serde_json::Value> {
    let entries: Vec<_> = handles.iter().map(|handle| handle.entry.clone()).collect();
    let scenario = |scenario: &failure::Scenario| {
        json!({
            "scenario": scenario.name,
            "title": scenario.title,
            "pattern": scenario.pattern.as_str(),
            "usual": scenario.usual,
            "over": scenario.transports(&entries),
            "question": scenario.question,
            "lesson": scenario.lesson,
            "page": format!("docs/{}", scenario.page()),
        })
    };
    failure::ALL.iter().map(scenario).collect()
}

/// All scenarios and faults, or the faults of a lab.
pub(super) fn list(lab: Option<&str>, json: bool, handles: &[Handle]) -> Result<ExitCode> {
    let handle = lab.map(|name| usage(plan::lab(handles, name))).transpose()?;
    let mut rows = Vec::new();
    for fault in fault::ALL {
        let (mut applies, mut covered) = (None, None);
        if let Some(handle) = handle {
            let why_not = fault::why_not(fault, &handle.entry, BrokerSource::Private);
            covered = why_not.is_none().then(|| {
                match fault::covered(handle.entry.guarantee, fault, &handle.entry) {
                    fault::Covered::Yes => "covered".to_owned(),
                    fault::Covered::No(why) => format!("not covered: {why}"),
                }
            });
            applies = why_not;
        }
        rows.push((fault, applies, covered));
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(fault, why_not, covered)| {
                json!({ "fault": fault, "does": fault.does(), "why_not": why_not, "covered": covered })
            })
            .collect();
        let shown = match lab {
            Some(_) => json!(rows),
            None => json!({ "scenarios": scenarios(handles), "faults": rows }),
        };
        outln!("{}", serde_json::to_string_pretty(&shown)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if lab.is_none() {
        outln!("Scenarios: one thing that goes wrong, played and explained")?;
        for scenario in failure::ALL {
            outln!("  {:<21} {}", scenario.name, scenario.title)?;
        }
        outln!("\nFaults: done to any lab under load")?;
    }
    for (fault, why_not, covered) in rows {
        let said = match (why_not, covered) {
            (Some(why), _) => format!("does not apply: {why}"),
            (None, Some(covered)) => covered,
            (None, None) => fault.does().to_owned(),
        };
        let indent = if lab.is_none() { "  " } else { "" };
        outln!("{indent}{:<21} {said}", fault.to_string())?;
    }
    if lab.is_none() {
        outln!("\nPlay a scenario:         {}", hint::command(&["break", "run", "late-subscriber"]))?;
        outln!("What applies to a lab:   {}", hint::command(&["break", "list", "LAB"]))?;
        outln!(
            "Do it:                   {}",
            hint::command(&["break", "queue-redis", "--fault", "receiver-kill"])
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
