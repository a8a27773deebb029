//! What differs between two runs beside their figures: machine, programs, settings, plan, noise.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::compare::history::host_name;
use crate::report::number;
use crate::results::{Plan, Run};

/// What is said in other words, or is different in every run.
const SAID_ELSEWHERE: [&str; 6] = ["name", "cpu", "cores", "load", "lab", "git"];

/// What a private broker is given anew for every run.
const OF_ONE_RUN: [&str; 3] = [" port", ", port", "cluster_name"];

/// An idle thread that wakes up so much later than on the other side says something of the machine.
const NOISIER: f64 = 1.25;

/// Each as a sentence, A before B: `host, governor: powersave and performance`.
pub(super) fn differs(a: &Run, b: &Run) -> Result<Vec<String>> {
    let mut differs = Vec::new();
    let mut add = |what: &str, of_a: &str, of_b: &str| {
        if of_a != of_b {
            differs.push(format!("{what}: {of_a} and {of_b}"));
        }
    };
    add("machine", &host_name(&a.host), &host_name(&b.host));
    add("lab", &a.versions.program(), &b.versions.program());
    let [whole_a, whole_b] = [a, b].map(|run| if run.complete { "complete" } else { "not finished" });
    add("run", whole_a, whole_b);
    for (what, of_a, of_b) in
        [("host", leaves(&a.host)?, leaves(&b.host)?), ("", leaves(&a.versions)?, leaves(&b.versions)?)]
    {
        for (name, value) in &of_a {
            // What only one of them needed or could find out is no difference.
            let Some(other) = of_b.get(name) else { continue };
            let name = if what.is_empty() { name.clone() } else { format!("{what}, {name}") };
            add(&name, value, other);
        }
    }
    for (name, of_a, of_b) in plan_differences(&a.plan, &b.plan)? {
        add(&format!("plan, {name}"), &of_a, &of_b);
    }
    let woke = |run: &Run| run.noise.oversleep_p50_ns as f64;
    let (less, more) = (woke(a).min(woke(b)), woke(a).max(woke(b)));
    if less > 0.0 && more > less * NOISIER {
        add("an idle thread woke up late by (median)", &number::time(woke(a)), &number::time(woke(b)));
    }
    let busy = |run: &Run| run.host.load[0];
    if (busy(a) - busy(b)).abs() >= 0.5 {
        add("load average at the start", &format!("{:.1}", busy(a)), &format!("{:.1}", busy(b)));
    }
    Ok(differs)
}

/// All plain values, by their way: `settings, redis, appendfsync`.
fn leaves(of: &impl Serialize) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), serde_json::to_value(of)?)];
    while let Some((way, value)) = open.pop() {
        match value {
            Value::Object(fields) => {
                let named =
                    |name: &str| if way.is_empty() { name.to_owned() } else { format!("{way}, {name}") };
                let fields = fields
                    .iter()
                    .filter(|(name, _)| !(way.is_empty() && SAID_ELSEWHERE.contains(&name.as_str())));
                open.extend(fields.map(|(name, value)| (named(name), value.clone())));
            }
            Value::Null => {}
            // Two machines of one kind differ by some pages.
            Value::Number(bytes) if way == "memory_bytes" => {
                let gib = bytes.as_f64().unwrap_or_default() / f64::from(1 << 30);
                found.insert("memory".to_owned(), format!("{gib:.0} GiB"));
            }
            _ if OF_ONE_RUN.iter().any(|end| way.ends_with(end)) => {}
            Value::String(text) => {
                found.insert(way, text);
            }
            other => {
                found.insert(way, other.to_string());
            }
        }
    }
    Ok(found)
}

/// The fields of a plan that change how a case is measured, with both values.
fn plan_differences(a: &Plan, b: &Plan) -> Result<Vec<(String, String, String)>> {
    const CASES: [&str; 8] = ["name", "labs", "sizes", "loads", "senders", "receivers", "axes", "floor"];
    let (of_a, of_b) = (serde_json::to_value(a)?, serde_json::to_value(b)?);
    let text = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    let differing = a.differences(b)?.into_iter().filter(|name| !CASES.contains(&name.as_str()));
    Ok(differing.map(|name| (name.clone(), text(&of_a[&name]), text(&of_b[&name]))).collect())
}

/// What A, B and the intervals are.
pub(super) fn intervals(a: &Run, b: &Run) -> String {
    const FIGURES: &str = "Messages/s and CPU time are medians over the trials, p50 and p99 are of all trials \
                           together, as in the reports.";
    let widest = [a, b].into_iter().filter_map(|run| Some((run, run.widening.as_ref()?)));
    match widest.max_by(|(_, one), (_, other)| one.factor.total_cmp(&other.factor)) {
        Some((run, widening)) if widening.factor > 1.0 => format!(
            "{FIGURES} Intervals (95\u{202f}%, over the trials of both) are made {} wider: by so much, runs of one \
             plan were seen to differ on {}.",
            number::wider(widening.factor),
            run.host.name
        ),
        _ => format!(
            "{FIGURES} Intervals (95\u{202f}%) show how the trials of each run differ, and not how runs of one \
             machine differ from each other: `{}` measures that, for the runs that follow.",
            crate::hint::command(&["agree", "DIR", "DIR", "--save"])
        ),
    }
}
